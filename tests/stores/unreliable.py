"""
The reference store, out of reach whenever a test wants it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.abilities import Copy
from django_distsession.stores.contract import Token, Versioned
from django_distsession.stores.memory import MemoryStore
from django_distsession.stores.record import Record

T = TypeVar("T")


class UnreliableStore(MemoryStore):
    """
    takes_requests, gives_replies: whether they get through.
    """

    takes_requests = gives_replies = True

    @contextmanager
    def outage(self) -> Iterator[None]:
        self.takes_requests = False
        yield
        self.takes_requests = True

    @contextmanager
    def lost_replies(self) -> Iterator[None]:
        self.gives_replies = False
        yield
        self.gives_replies = True

    def get(self, storage_id: str) -> Versioned | None:
        return self._ask(super().get, storage_id)

    def add(self, storage_id: str, record: Record) -> Token:
        return self._ask(super().add, storage_id, record)

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        return self._ask(super().replace, storage_id, record, token)

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        self._ask(super().end, storage_id, expires_at, token)

    def inspect(self, storage_id: str) -> list[Copy]:
        try:
            return self._ask(super().inspect, storage_id)
        except StoreUnavailable:
            return [Copy("memory", "this process", "unavailable")]

    def _ask(self, call: Callable[..., T], *args: Any) -> T:
        if not self.takes_requests:
            raise StoreUnavailable("The request was lost.")
        result = call(*args)
        if not self.gives_replies:
            raise StoreUnavailable("The reply was lost.")
        return result
