"""
What a store is: the contract between the session engines and the places where records live.

A store knows records, versions and tokens. It does not know Django, nor what is in a payload: it
is given `merge` to bring differing copies of one session together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..exceptions import StoreError, StoreUnavailable
from ..stamps import Stamp
from ..state import ended_version


class Record(NamedTuple):
    """
    One state of one session as a store holds it. An ended session's record is its tombstone.

    payload: the encoded state; empty for a tombstone.
    user: the id of the user who is logged in, as text.
    created_at, expires_at: seconds since the epoch.
    held_until: where saves shortened the lifetime, until when a copy that some server slept with
        may live. A store that forgets by itself holds this record as long.

    The rest is what a copy in a cache remembers of the durable store behind it.
    source_rev: the durable store's token for the record that this was copied from; "" if none.
    validated_at: when the durable store last confirmed it, in seconds since the epoch.
    unsynced: whether the durable store has yet to be told of it.
    """

    version: Stamp
    expires_at: int
    created_at: int
    payload: bytes = b""
    user: str | None = None
    ended: bool = False
    source_rev: str = ""
    validated_at: int = 0
    unsynced: bool = False
    held_until: int = 0

    @property
    def gone_by(self) -> int:
        """
        When no copy of the session lives any more, whichever save wrote it.
        """
        return max(self.expires_at, self.held_until)

    def holding(self, until: int) -> Record:
        """
        Return this record, to be held at least until then.
        """
        return self._replace(held_until=until) if until > self.gone_by else self

    def is_live(self, now: float) -> bool:
        """
        Whether it has neither ended nor expired.
        """
        return not self.ended and self.expires_at > now

    @classmethod
    def tombstone(cls, expires_at: int) -> Record:
        """
        Return the record that an ended session leaves behind until `expires_at`.
        """
        return cls(ended_version(expires_at), expires_at, expires_at, ended=True)


# What a store needs to compare and swap. Opaque to everybody but the store that made it.
Token = Any

# Brings differing live copies of one session together. None when not one of them can be decoded.
Merge = Callable[[str, Sequence[Record]], "Record | None"]


class Found(NamedTuple):
    """
    A record, and the token with which exactly this record can be replaced.
    """

    record: Record
    token: Token


class Conflict(StoreError):
    """
    The record moved on since the token was handed out.

    found: what the store holds now, so that the caller merges without another read; None where
        it holds nothing any more.
    applied: whether the store knows that a part of it took the record that was to be written, and
        that this was since replaced by what `found` contains, so by somebody who had read it.
        False means that this is not known.
    """

    def __init__(self, found: Found | None, *, applied: bool = False) -> None:
        self.found = found
        self.applied = applied
        super().__init__("The session was changed by another request.")


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


class Store(ABC):
    """
    Where records live. Safe to share between threads and across `fork`.

    Every method raises `StoreUnavailable` when the store cannot be reached, and then nothing is
    known of whether a write took place: repeating it is always safe.
    """

    @abstractmethod
    def get(self, storage_id: str) -> Found | None:
        """
        Return what is stored, tombstones and expired records included, or None.

        None means that the store answered and holds nothing that can be read.
        """

    def refresh(self, storage_id: str, at_least: int) -> Found | None:
        """
        Return what `get` does, after looking wherever a record of generation `at_least` could be.

        The caller knows that it was written and that `get` did not find it. `StoreUnavailable` if
        a server that may hold it cannot be asked; what is older is returned only if none has it.
        """
        return self.get(storage_id)

    @abstractmethod
    def add(self, storage_id: str, record: Record) -> Token:
        """
        Store the first record of a session. `Conflict` if there is one, `RecordTooLarge`.
        """

    @abstractmethod
    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        """
        Replace the record that came with `token`. `Conflict` if it moved on, `RecordTooLarge`.

        When this returns, every later read sees the record, or a merge that contains it.
        """

    @abstractmethod
    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        """
        Put a tombstone in place of whatever is stored, to last until `expires_at`.

        token: where the caller has one, it may save the store a read.
        """

    @abstractmethod
    def inspect(self, storage_id: str) -> list[Copy]:
        """
        Tell which servers hold which copy. Never raises for a server that is down.
        """

    @abstractmethod
    def close(self) -> None:
        """
        Close all connections. The store may be used again afterwards.
        """

    def parts(self) -> Iterator[Store]:
        """
        Yield this store and the stores that it is made of.
        """
        yield self

    def status(self) -> list[dict[str, Any]]:
        """
        Tell how each server is doing, as this process sees it. Asks none of them.
        """
        return []


@dataclass(slots=True)
class Cleared:
    """
    What a garbage collection did.

    seen: expired records that the index showed; purged: gone for good; deleted: replaced by the
    server's own deletion stub, where purging is not possible; skipped: changed meanwhile.
    merged: live sessions whose diverged copies were brought together.
    passed_over: records that could not be worked with, or do not say when they expire; the log
    names them.
    total: how many there were to look at when it began.
    no_purge: why records were deleted and not purged.
    """

    seen: int = 0
    purged: int = 0
    deleted: int = 0
    skipped: int = 0
    merged: int = 0
    total: int = 0
    no_purge: str = ""
    passed_over: int = 0


BATCH_SIZE = 500


@dataclass(frozen=True, slots=True)
class Sweep:
    """
    How to collect garbage.

    batch_size: records at a time. limit: records at the most. max_seconds: no batch is begun later.
    dry_run: only count. progress: called after each batch with what was done so far.
    """

    batch_size: int = BATCH_SIZE
    limit: int | None = None
    max_seconds: float | None = None
    dry_run: bool = False
    progress: Callable[[Cleared], None] | None = None


class UserSession(NamedTuple):
    """
    A live session of a user, for people. Times in seconds since the epoch.
    """

    storage_id: str
    created_at: int
    updated_at: int
    expires_at: int


class DurableStore(Store):
    """
    A store that keeps expired records until somebody collects them, and knows whose they are.
    """

    @abstractmethod
    def clear_expired(self, sweep: Sweep | None = None) -> Cleared:
        """
        Remove expired records and tombstones for good.
        """

    @abstractmethod
    def for_user(self, user: str) -> list[UserSession]:
        """
        Return the live sessions in which this user is logged in, the oldest first.

        It reads an index, which may first have to catch up: not for every request.
        """

    def is_down(self) -> bool:
        """
        Whether none of its servers answered last time, so that it may take a while to find out
        whether one does now. Asks none.
        """
        return False

    def end_for_user(self, user: str, *, keep: str | None = None, margin: int = 0) -> int:
        """
        End all sessions of a user but one. Returns how many. `StoreUnavailable` if one could not
        be ended; those that could are.

        keep: the storage id of that one. margin: how long a tombstone outlives its session.
        """
        ended = 0
        failure: StoreUnavailable | None = None
        for session in self.for_user(user):
            if session.storage_id == keep:
                continue
            try:
                self.end(session.storage_id, session.expires_at + margin)
                ended += 1
            except StoreUnavailable as error:
                # The others are not to live on because of this one.
                failure = error
        if failure:
            raise failure
        return ended
