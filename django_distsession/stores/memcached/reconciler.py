"""
Bringing the replicas of a session to one record, whenever they differ.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from ...clock import Clock
from ...exceptions import RecordTooLarge, StoreUnavailable
from ..backoff import delay
from ..contract import Merge, Versioned
from ..operations import Operation, Pause
from ..reconcile import reconcile
from ..record import Record
from . import wire
from .exchange import insist_gen, storing
from .node import Node, Restarts
from .protocol import ALWAYS, IF_ABSENT, IF_CAS, Reply
from .replica_set import ReplicaCopy, ReplicaSet, Tokens, answers

# Between two readings of copies that keep changing, in seconds: longer from one to the next.
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.02


class Reconciler:
    """
    nodes, restarts, quorum, merge, confirms_misses: those of `MemcachedStore`.
    uniform: random numbers, for pauses.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        restarts: Restarts,
        *,
        quorum: int,
        merge: Merge,
        confirms_misses: bool,
        clock: Clock,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._nodes = nodes
        self._restarts = restarts
        self._quorum = quorum
        self._merge = merge
        self._confirms_misses = confirms_misses
        self._clock = clock
        self._uniform = uniform

    def reconcile_gen(
        self,
        replica_set: ReplicaSet,
        until: float,
        *,
        extra: Sequence[Node] = (),
        replies: Sequence[Reply | None] | None = None,
        restarts: int = 0,
        ask_all: bool = False,
    ) -> Operation[tuple[Versioned | None, int]]:
        """
        Return what the replicas hold, once they hold the same, and how many were written to.

        until: when the time is over. extra: other servers whose copies are read too.
        replies: what they just answered; restarts: how many were known of before they were asked.
        ask_all: whether to ask replicas that are believed down in any case. Else that is done where
        too few of the others answer, or none of them holds the session.
        """
        # In the order of the settings, lest two threads wait for each other's connections.
        nodes = [node for node in self._nodes if node in replica_set.replicas or node in extra]
        attempt = 0
        while True:
            if replies is None:
                restarts = self._restarts.count
            copies = yield from self._read_gen(replica_set, nodes, until, replies, ask_all)
            replies = None
            reached = [copy for copy in copies if copy.node in replica_set.replicas]
            if len(reached) < self._quorum:
                raise replica_set.unavailable(len(reached), self._quorum)
            records = [copy.record for copy in copies if copy.record is not None]
            agreed = reconcile(replica_set.storage_id, records, self._merge)
            if agreed is None:
                if ask_all or self._confirms_misses:
                    self._check_miss(replica_set, reached)
                return None, 0
            tokens = Tokens({copy.node: copy.cas for copy in reached})
            tokens.record, tokens.restarts, tokens.before = agreed, restarts, dict(tokens)
            differing = [copy for copy in reached if copy.differs_from(agreed)]
            try:
                written = yield from self._repair_gen(
                    replica_set, agreed, differing, tokens, copies, until
                )
            except RecordTooLarge:
                # Copies that fit each, but not together. Whoever reads merges them anew, until
                # a save is told that the session is too large.
                written = 0
            if written is not None:
                return Versioned(agreed, tokens), written
            yield self._pause(attempt, until)
            attempt += 1

    def _read_gen(
        self,
        replica_set: ReplicaSet,
        nodes: Sequence[Node],
        until: float,
        replies: Sequence[Reply | None] | None,
        ask_all: bool,
    ) -> Operation[list[ReplicaCopy]]:
        exchange = replica_set.asking(nodes, until)
        if replies is None:
            replies = yield exchange
        replies = answers(replies)
        copies = self._read(replica_set, nodes, replies)
        if None in replies and (ask_all or self._is_in_doubt(replica_set, copies)):
            replies = answers((yield from insist_gen(exchange, replies)))
            copies = self._read(replica_set, nodes, replies)
        return copies

    def _pause(self, attempt: int, until: float) -> Pause:
        seconds = delay(attempt, first=FIRST_PAUSE, longest=LONGEST_PAUSE, uniform=self._uniform)
        if until - self._clock.monotonic() < seconds:
            raise StoreUnavailable("A session in memcached kept changing while it was read.")
        return Pause(seconds)

    def _read(
        self, replica_set: ReplicaSet, nodes: Sequence[Node], replies: Sequence[Reply | None]
    ) -> list[ReplicaCopy]:
        now = self._clock.now()
        return [
            replica_set.read(node, reply, now)
            for node, reply in zip(nodes, replies, strict=True)
            if reply is not None
        ]

    def _is_in_doubt(self, replica_set: ReplicaSet, copies: Sequence[ReplicaCopy]) -> bool:
        if all(copy.record is None for copy in copies):
            return self._confirms_misses or not copies
        return sum(copy.node in replica_set.replicas for copy in copies) < self._quorum

    def _check_miss(self, replica_set: ReplicaSet, reached: Sequence[ReplicaCopy]) -> None:
        silent = replica_set.silent({copy.node for copy in reached})
        if silent:
            raise replica_set.unknown(silent)

    def _repair_gen(
        self,
        replica_set: ReplicaSet,
        agreed: Record,
        differing: Sequence[ReplicaCopy],
        tokens: Tokens,
        copies: Sequence[ReplicaCopy],
        until: float,
    ) -> Operation[int | None]:
        """
        Write `agreed` to the replicas that differ, and their new tokens into `tokens`.

        copies: all that were read. Return how many took it; None if one of them changed meanwhile.
        One that fails now counts as not reached.
        """
        if not differing:
            return 0
        record, ttl = _as_stored(agreed, copies, self._clock.now())
        conditions = [
            (
                copy.node,
                ALWAYS if agreed.ended else IF_CAS % copy.cas if copy.cas else IF_ABSENT,
            )
            for copy in differing
        ]
        exchange = storing(
            replica_set.key, replica_set.of, record, ttl, conditions, until, tokens.restarts
        )
        written, is_refused = exchange.outcome((yield exchange), tokens, repair=True)
        if is_refused:
            return None
        if len(tokens) < self._quorum:
            raise replica_set.unavailable(len(tokens), self._quorum)
        return written


def _as_stored(agreed: Record, copies: Sequence[ReplicaCopy], now: float) -> tuple[Record, int]:
    """
    Return the record to write, and the TTL to write it with.

    What some server holds, if perhaps for too short a time, is written as it stands there, and
    lives by that server's clock: this process's clock has no say in it.
    """
    deadline = max(copy.stored.retention_deadline for copy in copies if copy.stored is not None)
    for copy in copies:
        if copy.stored is not None and copy.ttl >= 0 and copy.is_source_of(agreed):
            record = copy.stored.retained_until(deadline)
            longer = record.retention_deadline - copy.stored.retention_deadline
            return record, wire.as_exptime(copy.ttl + longer, now)
    return agreed, wire.ttl(agreed, now)
