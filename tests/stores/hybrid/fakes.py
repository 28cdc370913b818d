"""
Two tiers in memory that keep the contract of stores, and do so badly whenever a test wants it.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar

from django_distsession.exceptions import RecordTooLarge, StoreUnavailable
from django_distsession.stores.abilities import Copy, DurableStore, UserSession
from django_distsession.stores.cache import CacheStore
from django_distsession.stores.contract import Conflict, Store, Token, Versioned
from django_distsession.stores.garbage import GCOptions, GCResult
from django_distsession.stores.operations import Call, Operation
from django_distsession.stores.record import Record

T = TypeVar("T")


class Killed(BaseException):
    """
    What a process feels that is killed.
    """


def die() -> None:
    raise Killed


def call(function: Callable[..., T], *args: Any) -> Operation[T]:
    result: T = yield Call(function, *args)
    return result


class FakeStore(Store, ABC):
    """
    up: whether it answers. loses_replies: whether it does what it is asked, and does not answer.
    before, after: called with the name of each request, before it is carried out and before it is
    answered.
    """

    def __init__(self) -> None:
        self.up = True
        self.loses_replies = False
        self.held: dict[str, tuple[Record, str]] = {}
        self.before: Callable[[str], None] = lambda name: None
        self.after: Callable[[str], None] = lambda name: None
        self.calls: list[str] = []
        self._tokens = count(1)

    def _request(self, name: str) -> None:
        self.calls.append(name)
        self.before(name)
        if not self.up and not self.loses_replies:
            raise StoreUnavailable(f"{name}: down")

    def _reply(self, name: str) -> None:
        self.after(name)
        if not self.up:
            raise StoreUnavailable("no reply")

    def _found(self, storage_id: str) -> Versioned | None:
        held = self.held.get(storage_id)
        return held and Versioned(*held)

    def _keep(self, storage_id: str, record: Record) -> str:
        token = f"{next(self._tokens)}-fake"
        self.held[storage_id] = record, token
        return token

    def get(self, storage_id: str) -> Versioned | None:
        self._request("get")
        found = self._found(storage_id)
        self._reply("get")
        return found

    def add(self, storage_id: str, record: Record) -> Token:
        return self._swap("add", storage_id, record, None)

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        assert token is not None
        return self._swap("replace", storage_id, record, token)

    def _swap(self, name: str, storage_id: str, record: Record, token: Token) -> Token:
        self._request(name)
        found = self._found(storage_id)
        if (found and found.token) != token:
            self._reply(name)
            raise Conflict(found)
        kept = self._keep(storage_id, record)
        self._reply(name)
        return kept

    def inspect(self, storage_id: str) -> list[Copy]:
        return []

    def close(self) -> None: ...


class FakeCache(FakeStore, CacheStore):
    """
    since: when a process saw it come back. silent: whether a server that may hold more is.
    """

    limit = 1_000_000
    # Out of memory: what is there stays readable.
    refuses = False
    since = 0.0
    silent = False

    def __init__(self) -> None:
        super().__init__()
        self._listeners: list[Callable[[], object]] = []

    def recover(self) -> None:
        """
        Come back, and tell who listens.
        """
        self.up = True
        for listener in self._listeners:
            listener()

    def on_recovery(self, listener: Callable[[], object]) -> None:
        self._listeners.append(listener)

    def reachable_since(self, storage_id: str) -> float:
        return self.since

    def get_gen(self, storage_id: str) -> Operation[Versioned | None]:
        return call(self.get, storage_id)

    def add_gen(self, storage_id: str, record: Record) -> Operation[Token]:
        return call(self.add, storage_id, record)

    def replace_gen(self, storage_id: str, record: Record, token: Token) -> Operation[Token]:
        return call(self.replace, storage_id, record, token)

    def end_gen(self, storage_id: str, expires_at: int, token: Token = None) -> Operation[None]:
        return call(self.end, storage_id, expires_at, token)

    def refresh_gen(self, storage_id: str, at_least: int) -> Operation[Versioned | None]:
        return call(self.refresh, storage_id, at_least)

    def put_tombstone_gen(self, storage_id: str, tombstone: Record) -> Operation[None]:
        return call(self.put_tombstone, storage_id, tombstone)

    def invalidate_gen(self, storage_id: str, token: Token) -> Operation[None]:
        return call(self.invalidate, storage_id, token)

    def refresh(self, storage_id: str, at_least: int) -> Versioned | None:
        found = self.get(storage_id)
        if found is None and self.silent:
            raise StoreUnavailable("a server that may hold it is silent")
        return found

    def _swap(self, name: str, storage_id: str, record: Record, token: Token) -> Token:
        if len(record.payload) > self.limit:
            raise RecordTooLarge(len(record.payload), self.limit, "the cache")
        if self.refuses:
            raise StoreUnavailable("out of memory")
        # As on the wire.
        return super()._swap(name, storage_id, record._replace(user=None), token)

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        self.put_tombstone(storage_id, Record.tombstone(expires_at))

    def put_tombstone(self, storage_id: str, tombstone: Record) -> None:
        self._request("put_tombstone")
        self._keep(storage_id, tombstone)
        self._reply("put_tombstone")

    def invalidate(self, storage_id: str, token: Token) -> None:
        self._request("invalidate")
        found = self._found(storage_id)
        if found is not None:
            if found.token != token:
                raise Conflict(found)
            del self.held[storage_id]
        self._reply("invalidate")

    def flush(self) -> None:
        self.held.clear()

    @property
    def has_unsynced(self) -> bool:
        return any(record.unsynced for record, _ in self.held.values())


class FakeDurable(FakeStore, DurableStore):
    """
    is_known_down: whether its breakers are open.
    """

    is_known_down = False

    def is_down(self) -> bool:
        return self.is_known_down

    def _keep(self, storage_id: str, record: Record) -> str:
        # What only a cache keeps is not kept here.
        record = record._replace(source_rev="", validated_at=0, unsynced=False)
        return super()._keep(storage_id, record)

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        self._request("end")
        found = self._found(storage_id)
        if found is not None and not found.record.ended:
            self._keep(storage_id, Record.tombstone(expires_at))
        self._reply("end")

    def clear_expired(self, options: GCOptions | None = None) -> GCResult:
        return GCResult()

    def for_user(self, user: str) -> list[UserSession]:
        return [
            UserSession(storage_id, record.created_at, 0, record.expires_at)
            for storage_id, (record, _) in self.held.items()
            if record.user == user
        ]


def one_shot(store: FakeStore, name: str, action: Callable[[], Any], when: str = "before") -> None:
    """
    Have `action` happen just before the store's next request of this name is carried out, or after.
    """
    usual = getattr(store, when)

    def once(called: str) -> None:
        if called == name:
            setattr(store, when, usual)
            action()

    setattr(store, when, once)
