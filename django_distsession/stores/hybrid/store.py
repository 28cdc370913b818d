"""
A cache store in front of a durable store, write-through. The durable store is the truth.

Whatever fails, a copy in the cache is believed for `revalidate_after` seconds at the most, as long
as the durable store answers. While it does not, reads go on from the cache; and so do writes where
the site wants that, marked as unsynced until the durable store is told of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from ...clock import SYSTEM_CLOCK, Clock
from ...exceptions import StoreUnavailable, UnreadableCopy
from ...observing import Tell
from ..abilities import Copy, DurableStore, UserSession, parts_of
from ..cache import CacheStore
from ..contract import Conflict, Merge, Store, Token, Versioned
from ..deadline import Deadline
from ..garbage import GCOptions, GCResult
from ..operations import GeneratorStore, Operation, operations_of, run
from ..record import Record
from .freshness import Checkpoint, Freshness
from .handoff import Handoff
from .reconciler import Reconciler, Tokens, from_cache, from_durable
from .single_flight import SingleFlight
from .tiers import Known, Tiers, pass_by_cache
from .write_behind import WriteBehind


class HybridStore(GeneratorStore, DurableStore):
    """
    Writes go to the durable store, then to the cache. Reads go to the cache first.

    revalidate_after: seconds. either: whether the cache takes writes while the durable store is
    away.
    timeout: seconds that one operation of the durable store may take. Nobody waits longer for a
    read of somebody else's, or tries longer to bring both stores together.
    names: of the cache and of the durable store, for messages. tell: for reports; None if nobody
    wants them.
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
        tell: Tell | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._cache = cache
        self._durable = durable
        self._durable_gens = operations_of(durable)
        self._names = names
        self._new_deadline = partial(Deadline, timeout, clock.monotonic)
        self._freshness = Freshness(cache, revalidate_after, clock)
        self._missed = self._freshness.missed
        self._tiers = Tiers(cache, self._durable_gens, self._missed, tell)
        self._reconciler = Reconciler(
            cache,
            self._durable_gens,
            self._tiers,
            merge=merge,
            freshness=self._freshness,
            new_deadline=self._new_deadline,
        )
        self._write_behind = WriteBehind(cache, allowed=either, tell=tell)
        self._reads: SingleFlight[Versioned | None] = SingleFlight()
        self._handoff = Handoff(cache, self._missed, self._bring_together, clock=clock)
        cache.on_recovery(self._handoff.begin)

    # The operations.

    def get_gen(self, storage_id: str) -> Operation[Versioned | None]:
        """
        Read the cache; where it has nothing, or has not asked for long, the durable store.
        """
        cached, is_reached = None, True
        try:
            cached = yield from self._cache.get_gen(storage_id)
        except StoreUnavailable as error:
            pass_by_cache(error)
            is_reached = False
        if cached is not None and self._freshness.is_fresh(storage_id, cached.record):
            return Versioned(cached.record, Tokens(cached.record.source_rev or None, cached.token))
        deadline = self._new_deadline()
        first = partial(self._ask_gen, storage_id, cached, is_reached, deadline)
        later = partial(self._look_and_ask_gen, storage_id, deadline)
        try:
            if cached is not None and self._durable.is_down():
                raise StoreUnavailable(f"{self._names[1]} does not answer.")
            return (yield from self._reads.do_gen(storage_id, first, later, deadline))
        except StoreUnavailable as error:
            if cached is None or isinstance(error, UnreadableCopy):
                raise
            # Of any age, unless it is known to be outdated.
            if self._missed.is_outdated(storage_id, cached.record.validated_at):
                raise
            return from_cache(cached)

    def refresh_gen(self, storage_id: str, at_least: int) -> Operation[Versioned | None]:
        """
        Ask the durable store, however fresh the cache seems, and all of the cache's servers.
        """
        deadline, checkpoint = self._new_deadline(), self._missed.checkpoint(storage_id)
        durable = yield from self._durable_gens.get_gen(storage_id)
        try:
            cached = yield from self._cache.refresh_gen(storage_id, at_least)
        except StoreUnavailable as error:
            pass_by_cache(error)
            return self._without_cache(durable, error)
        known = Known(durable, cached, checkpoint)
        return (yield from self._reconciler.reconcile_gen(storage_id, known, deadline))

    def add_gen(self, storage_id: str, record: Record) -> Operation[Token]:
        if self._write_behind.allowed:
            cached, _ = yield from self._look_gen(storage_id)
            # The durable store may not have been told of it yet.
            found = None if cached is None else (yield from self.get_gen(storage_id))
            if found is not None:
                raise Conflict(found)
        checkpoint = self._missed.checkpoint(storage_id)
        try:
            token = yield from self._durable_gens.add_gen(storage_id, record)
        except Conflict as conflict:
            raise (yield from self._moved_on_gen(storage_id, conflict, checkpoint)) from None
        except StoreUnavailable as error:
            return (yield from self._write_behind.take_gen(storage_id, record, None, error))
        write_through = self._reconciler.write_through_gen
        return (yield from write_through(storage_id, record, token, None, checkpoint))

    def replace_gen(self, storage_id: str, record: Record, token: Token) -> Operation[Token]:
        checkpoint = self._missed.checkpoint(storage_id)
        try:
            if token.durable is None:
                # Read from a cache that did not know what the durable store holds.
                raise Conflict((yield from self._durable_gens.get_gen(storage_id)))
            swapped = yield from self._durable_gens.replace_gen(storage_id, record, token.durable)
        except Conflict as conflict:
            raise (yield from self._moved_on_gen(storage_id, conflict, checkpoint)) from None
        except StoreUnavailable as error:
            return (yield from self._write_behind.take_gen(storage_id, record, token, error))
        except BaseException as interruption:
            # Cancelled: the durable store may take it all the same.
            self._missed.add_interrupted(storage_id, interruption)
            raise
        write_through = self._reconciler.write_through_gen
        return (yield from write_through(storage_id, record, swapped, token.cache, checkpoint))

    def end_gen(self, storage_id: str, expires_at: int, token: Token = None) -> Operation[None]:
        tombstone = Record.tombstone(expires_at)
        checkpoint = self._missed.checkpoint(storage_id)
        try:
            yield from self._tiers.end_durably_gen(storage_id, expires_at, token and token.durable)
        except StoreUnavailable as error:
            yield from self._write_behind.end_gen(storage_id, tombstone, error)
        except BaseException as interruption:
            self._missed.add_interrupted(storage_id, interruption)
            raise
        else:
            yield from self._tiers.end_in_cache_gen(storage_id, tombstone, checkpoint)

    def sync_gen(self, storage_id: str) -> Operation[bool]:
        """
        Tell the durable store what the cache took alone. Whether there was anything to tell.

        A request that touches the session does so too; this is for those that nobody touches.
        `StoreUnavailable` if it cannot be done now.
        """
        cached = yield from self._cache.get_gen(storage_id)
        if cached is None or not cached.record.unsynced:
            return False
        deadline, checkpoint = self._new_deadline(), self._missed.checkpoint(storage_id)
        durable = yield from self._durable_gens.get_gen(storage_id)
        known = Known(durable, cached, checkpoint)
        yield from self._reconciler.reconcile_gen(storage_id, known, deadline, strict=True)
        return True

    def sync(self, storage_id: str) -> bool:
        return run(self.sync_gen(storage_id))

    # What it can do besides.

    def clear_expired(self, options: GCOptions | None = None) -> GCResult:
        return self._durable.clear_expired(options)

    def for_user(self, user: str) -> list[UserSession]:
        """
        Ask the durable store, which alone has an index. What the cache took while the durable
        store was away is not in there before somebody touches it, or `repairsessions` does.
        """
        return self._durable.for_user(user)

    def is_down(self) -> bool:
        return self._durable.is_down()

    def inspect(self, storage_id: str) -> list[Copy]:
        return [*self._cache.inspect(storage_id), *self._durable.inspect(storage_id)]

    def parts(self) -> Iterator[Store]:
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
        taken, synced = self._write_behind.taken, self._tiers.synced
        return [{"store": "hybrid", "taken_unsynced": taken, "synced": synced}]

    def close(self) -> None:
        self._handoff.stop()
        self._cache.close()
        self._durable.close()

    def _look_gen(self, storage_id: str) -> Operation[tuple[Versioned | None, bool]]:
        """
        Return what the cache holds, and whether it could be reached.
        """
        try:
            return (yield from self._cache.get_gen(storage_id)), True
        except StoreUnavailable as error:
            pass_by_cache(error)
            return None, False

    def _look_and_ask_gen(self, storage_id: str, deadline: Deadline) -> Operation[Versioned | None]:
        cached, is_reached = yield from self._look_gen(storage_id)
        if cached is not None and self._freshness.is_fresh(storage_id, cached.record):
            return from_cache(cached)
        return (yield from self._ask_gen(storage_id, cached, is_reached, deadline))

    def _ask_gen(
        self, storage_id: str, cached: Versioned | None, is_reached: bool, deadline: Deadline
    ) -> Operation[Versioned | None]:
        checkpoint = self._missed.checkpoint(storage_id)
        durable = yield from self._durable_gens.get_gen(storage_id)
        known = Known(durable, cached, checkpoint)
        return (yield from self._reconcile_gen(storage_id, known, is_reached, deadline))

    def _reconcile_gen(
        self, storage_id: str, known: Known, is_reached: bool, deadline: Deadline
    ) -> Operation[Versioned | None]:
        if not is_reached:
            return self._without_cache(known.durable)
        if known.durable is None and known.cached is None and self._write_behind.allowed:
            # One of the cache's servers may have taken it alone, and be silent.
            known = known._replace(cached=(yield from self._cache.refresh_gen(storage_id, 0)))
        return (yield from self._reconciler.reconcile_gen(storage_id, known, deadline))

    def _bring_together(self, storage_id: str) -> None:
        run(self._look_and_ask_gen(storage_id, self._new_deadline()))

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

    def _moved_on_gen(
        self, storage_id: str, conflict: Conflict, checkpoint: Checkpoint
    ) -> Operation[Conflict]:
        """
        Return the error that carries what the durable store holds by now, by its own conflict.

        Where the session is over, the cache is told. Where it goes on, the save that follows
        tells it: the sooner that comes, the less often it meets yet another one.
        """
        durable = conflict.current
        if durable is not None and not durable.record.ended:
            return Conflict(from_durable(durable), applied=conflict.applied)
        cached, is_reached = yield from self._look_gen(storage_id)
        if not is_reached:
            self._missed.add(storage_id)
        known, deadline = Known(durable, cached, checkpoint), self._new_deadline()
        return Conflict((yield from self._reconcile_gen(storage_id, known, is_reached, deadline)))
