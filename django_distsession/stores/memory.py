"""
Records in this process's memory: a whole store, the shortest there is. For tests, and to copy.

It has plain methods, not generators: that is all a store needs. Event loops run them on threads. A
store that does I/O of its own that a loop could do without them is a `GeneratorStore` instead.
"""

from __future__ import annotations

import itertools
import threading
from typing import Any, NamedTuple

from ..clock import SYSTEM_CLOCK, Clock
from . import forking
from .abilities import Copy, UserSession
from .contract import Conflict, Store, Token, Versioned
from .garbage import GCOptions, GCResult
from .record import Record


class Entry(NamedTuple):
    """
    A record, its token, and when it was written, in seconds since the epoch.
    """

    record: Record
    token: int
    written_at: int


class MemoryStore(Store):
    """
    A dictionary, and a lock around what has to be one step.
    """

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        # Never used twice: a token that was good once must not fit a later record.
        self._tokens = itertools.count(1)
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Serve a forked child, which has a copy of everything. A thread that is not there any more
        may have held the lock.
        """
        self._lock = threading.Lock()

    # The contract.

    def get(self, storage_id: str) -> Versioned | None:
        return self._found(storage_id)

    def add(self, storage_id: str, record: Record) -> Token:
        return self._swap(storage_id, record, None)

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        return self._swap(storage_id, record, token)

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        # However often it changes: nobody comes in between.
        with self._lock:
            found = self._found(storage_id)
            if found is None:
                return
            # It has to outlive what it ends, and an earlier tombstone.
            self._put(
                storage_id, Record.tombstone(max(expires_at, found.record.retention_deadline))
            )

    def _swap(self, storage_id: str, record: Record, token: Token) -> Token:
        """
        Store a record if what is stored has this token; None: if there is nothing.
        """
        with self._lock:
            found = self._found(storage_id)
            if found is not None and found.record.version == record.version:
                # Written by an earlier try, of which the caller does not know that it succeeded.
                return found.token
            if token != (found.token if found else None):
                raise Conflict(found)
            return self._put(storage_id, record)

    def _put(self, storage_id: str, record: Record) -> Token:
        entry = Entry(record, next(self._tokens), int(self._clock.now()))
        self._entries[storage_id] = entry
        return entry.token

    def _found(self, storage_id: str) -> Versioned | None:
        entry = self._entries.get(storage_id)
        return Versioned(entry.record, entry.token) if entry else None

    # What it can do besides.

    def clear_expired(self, options: GCOptions | None = None) -> GCResult:
        options, now = options or GCOptions(), self._clock.now()
        with self._lock:
            garbage = [
                key
                for key, entry in self._entries.items()
                if entry.record.retention_deadline <= now
            ]
            garbage = garbage[: options.limit]
            if not options.dry_run:
                for storage_id in garbage:
                    del self._entries[storage_id]
        purged = 0 if options.dry_run else len(garbage)
        cleared = GCResult(seen=len(garbage), purged=purged, total=len(garbage))
        if options.progress:
            options.progress(cleared)
        return cleared

    def for_user(self, user: str) -> list[UserSession]:
        now = self._clock.now()
        with self._lock:
            entries = list(self._entries.items())
        sessions = [
            UserSession(storage_id, record.created_at, written_at, record.expires_at)
            for storage_id, (record, _, written_at) in entries
            if record.user == user and record.is_live(now)
        ]
        return sorted(sessions, key=lambda session: session.created_at)

    def inspect(self, storage_id: str) -> list[Copy]:
        found = self._found(storage_id)
        if found is None:
            return [Copy("memory", "this process", "absent")]
        if found.record.ended:
            return [Copy("memory", "this process", "ended")]
        return [Copy("memory", "this process", "live", found.record.version)]

    def status(self) -> list[dict[str, Any]]:
        """
        Tell how many records there are, tombstones included.
        """
        return [{"store": "memory", "up": True, "records": len(self._entries)}]

    def forget(self) -> None:
        """
        Remove everything, for the next test to begin with nothing.
        """
        with self._lock:
            self._entries.clear()
