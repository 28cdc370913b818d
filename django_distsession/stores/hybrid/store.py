"""
A cache store in front of a durable store, write-through. The durable store is the truth.

Whatever fails, a copy in the cache is believed for `revalidate_after` seconds at the most, as long
as the durable store answers. While it does not, reads go on from the cache; and so do writes where
the site wants that, marked as unsynced until the durable store is told of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ...exceptions import StoreUnavailable, UnreadableCopy
from ..abilities import Copy, DurableStore, UserSession, parts_of
from ..cache import CacheStore
from ..contract import Conflict, Merge, Store, Token, Versioned
from ..deadline import Deadline
from ..garbage import GCOptions, GCResult
from ..record import Record
from .bypass import pass_by_cache
from .freshness import Asked, Freshness
from .handoff import Handoff
from .reconciler import Reconciler
from .single_flight import SingleFlight
from .tokens import from_cache, from_durable
from .write_behind import WriteBehind


class HybridStore(DurableStore):
    """
    revalidate_after: seconds. either: whether the cache takes writes while the durable store is
    away.
    timeout: seconds that one operation of the durable store may take. Nobody waits longer for a
    read of somebody else's, or tries longer to bring both stores together.
    names: of the cache and of the durable store, for messages.
    """

    def __init__(
        self,
        cache: CacheStore,
        durable: DurableStore,
        *,
        merge: Merge,
        revalidate_after: float,
        either: bool = False,
        timeout: float = 2.0,
        names: tuple[str, str] = ("the cache", "the durable store"),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cache = cache
        self._durable = durable
        self._timeout = timeout
        self._names = names
        self._freshness = Freshness(cache, revalidate_after, clock)
        self._missed = self._freshness.missed
        self._reconciler = Reconciler(cache, durable, merge=merge, freshness=self._freshness)
        self._write_behind = WriteBehind(cache, allowed=either)
        self._reads: SingleFlight[Versioned | None] = SingleFlight()
        self._handoff = Handoff(cache, self._missed, self._bring_together)
        cache.on_recovery(self._handoff.begin)

    def get(self, storage_id: str) -> Versioned | None:
        """
        Read the cache; where it has nothing, or has not asked for long, the durable store.
        """
        cached, is_reached = self._look(storage_id)
        if cached is not None and self._freshness.is_fresh(storage_id, cached.record):
            return from_cache(cached)
        deadline = Deadline(self._timeout)
        try:
            if cached is not None and self._durable.is_down():
                raise StoreUnavailable(f"{self._names[1]} does not answer.")
            return self._reads.do(
                storage_id,
                partial(self._ask, storage_id, cached, is_reached, deadline),
                partial(self._look_and_ask, storage_id, deadline),
                deadline,
            )
        except StoreUnavailable as error:
            if cached is None or isinstance(error, UnreadableCopy):
                raise
            # Of any age, unless it is known to be outdated.
            if self._missed.lacks(storage_id, cached.record.validated_at):
                raise
            return from_cache(cached)

    def refresh(self, storage_id: str, at_least: int) -> Versioned | None:
        """
        Ask the durable store, however fresh the cache seems, and all of the cache's servers.
        """
        deadline, asked = Deadline(self._timeout), self._freshness.asking(storage_id)
        durable = self._durable.get(storage_id)
        try:
            cached = self._cache.refresh(storage_id, at_least)
        except StoreUnavailable as error:
            pass_by_cache(error)
            return self._without_cache(durable, error)
        return self._reconciler.reconcile(storage_id, durable, cached, asked, deadline)

    def add(self, storage_id: str, record: Record) -> Token:
        """
        Write to the durable store, then to the cache.
        """
        if self._write_behind.allowed and self._look(storage_id)[0] is not None:
            # The durable store may not have been told of it yet.
            found = self.get(storage_id)
            if found is not None:
                raise Conflict(found)
        asked = self._freshness.asking(storage_id)
        try:
            token = self._durable.add(storage_id, record)
        except Conflict as conflict:
            raise self._moved_on(storage_id, conflict, asked) from None
        except StoreUnavailable as error:
            return self._write_behind.take(storage_id, record, None, error)
        return self._write_through(storage_id, Versioned(record, token), None, asked)

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        """
        Compare and swap in the durable store, then write to the cache.
        """
        asked = self._freshness.asking(storage_id)
        try:
            if token.durable is None:
                # Read from a cache that did not know what the durable store holds.
                raise Conflict(self._durable.get(storage_id))
            swapped = self._durable.replace(storage_id, record, token.durable)
        except Conflict as conflict:
            raise self._moved_on(storage_id, conflict, asked) from None
        except StoreUnavailable as error:
            return self._write_behind.take(storage_id, record, token, error)
        return self._write_through(storage_id, Versioned(record, swapped), token.cache, asked)

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        """
        End the session in the durable store, then in the cache.
        """
        tombstone = Record.tombstone(expires_at)
        asked = self._freshness.asking(storage_id)
        try:
            self._reconciler.end_durably(storage_id, expires_at, token and token.durable)
        except StoreUnavailable as error:
            self._write_behind.end(storage_id, tombstone, error)
        else:
            self._reconciler.end_in_cache(storage_id, tombstone, asked)

    def sync(self, storage_id: str) -> bool:
        """
        Tell the durable store what the cache took alone. Whether there was anything to tell.

        A request that touches the session does so too; this is for those that nobody touches.
        `StoreUnavailable` if it cannot be done now.
        """
        cached = self._cache.get(storage_id)
        if cached is None or not cached.record.unsynced:
            return False
        deadline, asked = Deadline(self._timeout), self._freshness.asking(storage_id)
        durable = self._durable.get(storage_id)
        self._reconciler.reconcile(storage_id, durable, cached, asked, deadline, strict=True)
        return True

    def clear_expired(self, options: GCOptions | None = None) -> GCResult:
        """
        Clear the durable store; the cache forgets by itself.
        """
        return self._durable.clear_expired(options)

    def for_user(self, user: str) -> list[UserSession]:
        """
        Ask the durable store, which alone has an index. What the cache took while the durable
        store was away is not in there before somebody touches it, or `repairsessions` does.
        """
        return self._durable.for_user(user)

    def is_down(self) -> bool:
        """
        Whether the durable store is.
        """
        return self._durable.is_down()

    def inspect(self, storage_id: str) -> list[Copy]:
        """
        Tell what both stores hold.
        """
        return [*self._cache.inspect(storage_id), *self._durable.inspect(storage_id)]

    def parts(self) -> Iterator[Store]:
        """
        Yield this store and both that it is made of.
        """
        yield self
        yield from parts_of(self._cache)
        yield from parts_of(self._durable)

    def status(self) -> list[dict[str, Any]]:
        """
        Tell what this process did while the durable store was away.

        taken_unsynced: the writes that the cache took alone. synced: the sessions that the
        durable store was told of since, whoever had taken them; a session that was written to
        several times is told of once.
        """
        taken, synced = self._write_behind.taken, self._reconciler.synced
        return [{"store": "hybrid", "taken_unsynced": taken, "synced": synced}]

    def close(self) -> None:
        """
        Close the connections of both stores.
        """
        self._handoff.stop()
        self._cache.close()
        self._durable.close()

    def _look(self, storage_id: str) -> tuple[Versioned | None, bool]:
        """
        Return what the cache holds, and whether it could be reached.
        """
        try:
            return self._cache.get(storage_id), True
        except StoreUnavailable as error:
            pass_by_cache(error)
            return None, False

    def _look_and_ask(self, storage_id: str, deadline: Deadline) -> Versioned | None:
        cached, is_reached = self._look(storage_id)
        if cached is not None and self._freshness.is_fresh(storage_id, cached.record):
            return from_cache(cached)
        return self._ask(storage_id, cached, is_reached, deadline)

    def _ask(
        self, storage_id: str, cached: Versioned | None, is_reached: bool, deadline: Deadline
    ) -> Versioned | None:
        asked = self._freshness.asking(storage_id)
        durable = self._durable.get(storage_id)
        return self._reconcile(storage_id, durable, cached, is_reached, asked, deadline)

    def _reconcile(
        self,
        storage_id: str,
        durable: Versioned | None,
        cached: Versioned | None,
        is_reached: bool,
        asked: Asked,
        deadline: Deadline,
    ) -> Versioned | None:
        if not is_reached:
            return self._without_cache(durable)
        if durable is None and cached is None and self._write_behind.allowed:
            # One of the cache's servers may have taken it alone, and be silent.
            cached = self._cache.refresh(storage_id, 0)
        return self._reconciler.reconcile(storage_id, durable, cached, asked, deadline)

    def _bring_together(self, storage_id: str) -> None:
        self._look_and_ask(storage_id, Deadline(self._timeout))

    def _without_cache(
        self, durable: Versioned | None, error: StoreUnavailable | None = None
    ) -> Versioned | None:
        if durable is None and self._write_behind.allowed:
            cache, store = self._names
            raise StoreUnavailable(
                f"{store} does not have this session; {cache}, which may have taken it while "
                f"{store} was away, cannot be reached."
            ) from error
        return from_durable(durable)

    def _write_through(
        self, storage_id: str, durable: Versioned, token: Token, asked: Asked
    ) -> Token:
        deadline = Deadline(self._timeout)
        return self._reconciler.write_through(storage_id, durable, token, asked, deadline)

    def _moved_on(self, storage_id: str, conflict: Conflict, asked: Asked) -> Conflict:
        """
        Return the error that carries what the durable store holds by now, by its own conflict.

        Where the session is over, the cache is told. Where it goes on, the save that follows
        tells it: the sooner that comes, the less often it meets yet another one.
        """
        durable = conflict.current
        if durable is not None and not durable.record.ended:
            return Conflict(from_durable(durable), applied=conflict.applied)
        cached, is_reached = self._look(storage_id)
        if not is_reached:
            self._missed.note(storage_id)
        deadline = Deadline(self._timeout)
        return Conflict(self._reconcile(storage_id, durable, cached, is_reached, asked, deadline))
