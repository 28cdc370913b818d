"""
An engine whose store has the four methods of the contract and nothing else.
"""

from __future__ import annotations

from typing import Any

from django_distsession.backends.base import StoreBackedSession
from django_distsession.stores.contract import Store, Token, Versioned
from django_distsession.stores.memory import MemoryStore
from django_distsession.stores.record import Record


class BareStore(Store):
    def __init__(self) -> None:
        self._memory = MemoryStore()

    def get(self, storage_id: str) -> Versioned | None:
        return self._memory.get(storage_id)

    def add(self, storage_id: str, record: Record) -> Token:
        return self._memory.add(storage_id, record)

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        return self._memory.replace(storage_id, record, token)

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        self._memory.end(storage_id, expires_at, token)


class SessionStore(StoreBackedSession):
    @classmethod
    def make_store(cls, runtime: Any) -> BareStore:
        return BareStore()
