"""
What some stores can do beyond the contract. Whoever wants it asks with `isinstance`, and does
without where the answer is no.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ..exceptions import StoreUnavailable
from ..stamps import Stamp
from .contract import Store, Versioned
from .garbage import GCOptions, GCResult


@runtime_checkable
class Refreshable(Protocol):
    """
    A store of several copies, some of which `get` may pass by.
    """

    def refresh(self, storage_id: str, at_least: int) -> Versioned | None:
        """
        Return what `get` does, after looking wherever a record of generation `at_least` could be.

        The caller knows that it was written and that `get` did not find it. `StoreUnavailable` if
        a server that may hold it cannot be asked; what is older is returned only if none has it.
        """


@runtime_checkable
class Closable(Protocol):
    """
    A store with connections.
    """

    def close(self) -> None:
        """
        Close all connections. The store may be used again afterwards.
        """


@dataclass(frozen=True, slots=True)
class Copy:
    """
    Where a session lives, for people: what one server holds of it.

    place: the server, without credentials.
    condition: "live", "ended", "absent" or "unavailable".
    """

    store: str
    place: str
    condition: str
    version: Stamp | None = None
    replica: bool = True
    detail: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Inspectable(Protocol):
    """
    A store that shows people where a session lives.
    """

    def inspect(self, storage_id: str) -> list[Copy]:
        """
        Tell which servers hold which copy. Never raises for a server that is down.
        """


@runtime_checkable
class Monitored(Protocol):
    """
    A store that knows how its servers are doing.
    """

    def status(self) -> list[dict[str, Any]]:
        """
        Tell how each server is doing, as this process sees it. Asks none of them.
        """


@runtime_checkable
class Composite(Protocol):
    """
    A store that is made of others.
    """

    def parts(self) -> Iterator[Store]:
        """
        Yield this store and the stores that it is made of.
        """


def parts_of(store: Store) -> Iterator[Store]:
    """
    Yield a store, and those that it is made of if it is made of others.
    """
    if isinstance(store, Composite):
        yield from store.parts()
    else:
        yield store


@runtime_checkable
class Collectable(Protocol):
    """
    A store that keeps expired records until somebody collects them.
    """

    def clear_expired(self, options: GCOptions | None = None) -> GCResult:
        """
        Remove expired records and tombstones for good. What is held longer than it lives may stay.
        """


class UserSession(NamedTuple):
    """
    A live session of a user, for people. Times in seconds since the epoch.
    """

    storage_id: str
    created_at: int
    updated_at: int
    expires_at: int


@runtime_checkable
class UserIndex(Store, Protocol):
    """
    A store that knows whose sessions it holds.
    """

    def for_user(self, user: str) -> list[UserSession]:
        """
        Return the live sessions in which this user is logged in, the oldest first.

        It reads an index, which may first have to catch up: not for every request.
        """


def end_for_user(store: UserIndex, user: str, *, keep: str | None = None, margin: int = 0) -> int:
    """
    End all sessions of a user but one. Return how many. `StoreUnavailable` if one could not be
    ended; those that could are.

    keep: the storage id of that one. margin: how long a tombstone outlives its session, in seconds.
    """
    ended, failure = 0, None
    for session in store.for_user(user):
        if session.storage_id == keep:
            continue
        try:
            store.end(session.storage_id, session.expires_at + margin)
            ended += 1
        except StoreUnavailable as error:
            # The others are not to live on because of this one.
            failure = error
    if failure:
        raise failure
    return ended


class DurableStore(Collectable, UserIndex, Inspectable, Closable, Protocol):
    """
    A store that may stand behind a cache: it forgets nothing by itself, and knows its users.
    """

    def is_down(self) -> bool:
        """
        Whether none of its servers answered last time, so that it may take a while to find out
        whether one does now. Asks none.
        """
        return False
