"""
Bringing what the durable store and the cache hold of a session to one state.

By the one rule, `reconcile`, as between replicas, whatever set the two apart: a write that reached
one of them, a copy that slept through an outage, or a write that the cache took alone. Then first
the durable store, and after it the cache is told what it lacks, by compare-and-swap.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from ...exceptions import RecordTooLarge, SessionContended, StoreUnavailable
from ..cache import CacheStore
from ..contract import Conflict, Merge, Token, Versioned
from ..deadline import Deadline
from ..operations import GeneratorStore, Operation
from ..reconcile import are_same, reconcile
from ..record import Record
from .freshness import Checkpoint, Freshness
from .tiers import Known, Tiers

logger = logging.getLogger("django_distsession.hybrid")

# How often either store is written against others.
MAX_TRIES = 20


class Tokens(NamedTuple):
    """
    What each of the two stores needs to compare and swap; None where that is not known.

    Each belongs to a record whose every change is in the record that the pair comes with, though
    not always to the same one. So who replaces by them overwrites nothing unseen.
    """

    durable: Token
    cache: Token


def from_cache(cached: Versioned) -> Versioned:
    """
    Return what the cache holds as a record of both stores.
    """
    return Versioned(cached.record, Tokens(cached.record.source_rev or None, cached.token))


def from_durable(durable: Versioned | None) -> Versioned | None:
    """
    Return what the durable store holds as a record of both stores.
    """
    return durable and Versioned(durable.record, Tokens(durable.token, None))


class Reconciler:
    """
    new_deadline: makes the deadline of an operation that begins now.
    """

    def __init__(
        self,
        cache: CacheStore,
        durable: GeneratorStore,
        tiers: Tiers,
        *,
        merge: Merge,
        freshness: Freshness,
        new_deadline: Callable[[], Deadline],
    ) -> None:
        self._cache = cache
        self._durable = durable
        self._tiers = tiers
        self._merge = merge
        self._freshness = freshness
        self._missed = freshness.missed
        self._new_deadline = new_deadline

    def write_through_gen(
        self, storage_id: str, record: Record, rev: Token, token: Token, checkpoint: Checkpoint
    ) -> Operation[Tokens]:
        """
        Put a record that was just written to the durable store, and has the token `rev` there,
        where the cache's token points to, or where nothing is. `Conflict` if the session had ended,
        of which the durable store was not told.
        """
        copy = record._replace(source_rev=rev, validated_at=checkpoint.at)
        own = Tokens(rev, None)
        try:
            try:
                if token is None:
                    taken = yield from self._cache.add_gen(storage_id, copy)
                else:
                    taken = yield from self._cache.replace_gen(storage_id, copy, token)
            except Conflict as conflict:
                cached = conflict.current
            except RecordTooLarge:
                # It lives in the durable store alone, and an older copy must not outlive it, nor
                # come back with a server that is away.
                self._missed.add(storage_id)
                cached = yield from self._cache.get_gen(storage_id)
                if cached is None:
                    return own
            else:
                if checkpoint.miss is not None:
                    self._missed.resolve(storage_id, checkpoint.miss)
                return Tokens(rev, taken)
        except StoreUnavailable as error:
            yield from self._tiers.note_miss_gen(storage_id, token, error)
            return own
        except BaseException as interruption:
            self._missed.add_interrupted(storage_id, interruption)
            raise
        known = Known(Versioned(record, rev), cached, checkpoint)
        found = yield from self.reconcile_gen(storage_id, known, self._new_deadline())
        if found is not None and found.record.ended:
            # The cache alone knew.
            raise Conflict(found)
        if found is None or found.record.version != record.version:
            # The caller has not seen what its write was merged with. By this token its next save
            # will be told.
            return own
        tokens: Tokens = found.token
        return tokens

    def reconcile_gen(
        self, storage_id: str, known: Known, deadline: Deadline, *, strict: bool = False
    ) -> Operation[Versioned | None]:
        """
        Bring both stores to the state that holds what both know, and return it.

        deadline: after which nothing is tried again.
        strict: whether to raise where the durable store cannot be told. If not, the cache keeps
        its copy as it is, for the next reader to try again.
        """
        for attempt in range(MAX_TRIES):
            if known.may_be_outdated:
                checkpoint = self._missed.checkpoint(storage_id)
                durable = yield from self._durable.get_gen(storage_id)
                known = Known(durable, known.cached, checkpoint)
            durable, cached, checkpoint = known
            agreed = reconcile(storage_id, known.copies, self._merge)
            if cached and self._is_confirmed(storage_id, agreed, cached.record, checkpoint):
                self._missed.resolve(storage_id, checkpoint.miss)
                return from_cache(cached)
            if attempt and deadline.left <= 0:
                break
            agreed = agreed and self._completed(storage_id, agreed, known)
            if agreed is None and known.copies:
                # No session for this process, but maybe for one that knows a newer key.
                return from_durable(durable) or (cached and from_cache(cached))
            again = self._missed.checkpoint(storage_id)
            try:
                durable = yield from self._tiers.sync_durable_gen(storage_id, agreed, known)
            except Conflict as conflict:
                known = Known(conflict.current, cached, again)
                continue
            except (StoreUnavailable, RecordTooLarge) as error:
                if strict:
                    raise
                logger.debug("The durable store is not told what it lacks: %s", error)
                tokens = Tokens(durable and durable.token, cached and cached.token)
                return agreed and Versioned(agreed, tokens)
            try:
                known = Known(durable, cached, checkpoint)
                token = yield from self._tiers.sync_cache_gen(storage_id, known)
            except Conflict as conflict:
                known = Known(durable, conflict.current, checkpoint)
            else:
                return durable and Versioned(durable.record, Tokens(durable.token, token))
        if strict:
            raise SessionContended("A session kept changing while its copies were compared.")
        self._missed.add(storage_id)
        return from_durable(durable)

    def _is_confirmed(
        self, storage_id: str, agreed: Record | None, cached: Record, checkpoint: Checkpoint
    ) -> bool:
        """
        Whether the cache holds what both agree upon, and the durable store confirmed that to
        another request while this one was under way.
        """
        if agreed is None or agreed.ended or cached.unsynced or not are_same(agreed, cached):
            return False
        return cached.validated_at >= checkpoint.at or self._freshness.is_fresh(storage_id, cached)

    def _completed(self, storage_id: str, agreed: Record, known: Known) -> Record | None:
        """
        Return a record with all that a durable store wants to know, where it is to be told the
        cache's, which does not keep the user. None if that cannot be decoded.
        """
        durable, cached, _ = known
        if agreed.ended or cached is None or not are_same(agreed, cached.record):
            return agreed
        if durable is not None and are_same(agreed, durable.record):
            return agreed
        whole = self._merge(storage_id, [agreed])
        return whole and whole.retained_until(agreed.retention_deadline)
