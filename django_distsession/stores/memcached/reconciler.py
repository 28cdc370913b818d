"""
Bringing the replicas of a session to one record, whenever they differ.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence

from ...exceptions import RecordTooLarge, StoreUnavailable
from ..contract import Merge, Versioned
from ..deadline import Deadline
from ..reconcile import reconcile
from ..record import Record
from . import wire
from .agreement import Held
from .node import Node
from .protocol import REFUSED, Reply
from .replica_set import ALWAYS, ReplicaSet, answers, condition, filled_in, is_done

# Between two readings of copies that keep changing, in seconds: longer from one to the next.
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.02


class Tokens(dict[Node, int]):
    """
    For each replica that was reached, its cas token. record: what they hold, if anything.
    before: the tokens of what they held before a repair brought them together.
    """

    __slots__ = ("before", "record")

    def __init__(self, record: Record | None = None) -> None:
        super().__init__()
        self.record = record
        self.before: Mapping[Node, int] = {}


class Reconciler:
    """
    See `MemcachedStore` for what it is made of.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        quorum: int,
        merge: Merge,
        confirms_misses: bool,
        clock: Callable[[], float],
    ) -> None:
        self._nodes = nodes
        self._quorum = quorum
        self._merge = merge
        self._confirms_misses = confirms_misses
        self._clock = clock

    def reconcile(
        self,
        replica_set: ReplicaSet,
        deadline: Deadline,
        *,
        extra: Sequence[Node] = (),
        replies: Sequence[Reply | None] | None = None,
        ask_all: bool = False,
    ) -> tuple[Versioned | None, int]:
        """
        Return what the replicas hold, once they hold the same, and how many were written to.

        extra: other servers whose copies are read too. replies: what they just answered.
        ask_all: whether to ask replicas that are believed down in any case. Else that is done where
        too few of the others answer, or none of them holds the session.
        """
        written, attempt = 0, 0
        # In the order of the settings, lest two threads wait for each other's connections.
        nodes = [node for node in self._nodes if node in replica_set.replicas or node in extra]
        while True:
            if attempt or replies is None:
                replies = replica_set.ask(deadline, nodes)
            replies = answers(replies)
            held = self._read(replica_set, nodes, replies)
            if ask_all or self._is_in_doubt(replica_set, held):
                replies = self._ask_the_rest(replica_set, nodes, replies, deadline)
                held = self._read(replica_set, nodes, replies)
            reached = [copy for copy in held if copy.node in replica_set.replicas]
            if len(reached) < self._quorum:
                raise replica_set.unavailable(len(reached), self._quorum)
            copies = [copy.record for copy in held if copy.record is not None]
            agreed = reconcile(replica_set.storage_id, copies, self._merge)
            if agreed is None:
                if ask_all or self._confirms_misses:
                    self._check_miss(replica_set, reached)
                return None, written
            tokens = Tokens(agreed)
            for copy in reached:
                tokens[copy.node] = copy.cas
            tokens.before = dict(tokens)
            differing = [copy for copy in reached if copy.differs_from(agreed)]
            if not differing:
                return Versioned(agreed, tokens), written
            try:
                repaired = self._repair(replica_set, agreed, differing, tokens, held, deadline)
            except RecordTooLarge:
                # Copies that fit each, but not together. Whoever reads merges them anew, until
                # a save is told that the session is too large.
                return Versioned(agreed, tokens), written
            if repaired is not None:
                return Versioned(agreed, tokens), written + repaired
            attempt += 1
            pause = random.uniform(0, min(FIRST_PAUSE * attempt, LONGEST_PAUSE))  # noqa: S311
            if deadline.left < pause:
                raise StoreUnavailable("A session in memcached kept changing while it was read.")
            time.sleep(pause)

    def _read(
        self, replica_set: ReplicaSet, nodes: Sequence[Node], replies: Sequence[Reply | None]
    ) -> list[Held]:
        now = self._clock()
        return [
            replica_set.read(node, reply, now)
            for node, reply in zip(nodes, replies, strict=True)
            if reply is not None
        ]

    def _is_in_doubt(self, replica_set: ReplicaSet, held: Sequence[Held]) -> bool:
        if all(copy.record is None for copy in held):
            return self._confirms_misses or not held
        return sum(copy.node in replica_set.replicas for copy in held) < self._quorum

    def _ask_the_rest(
        self,
        replica_set: ReplicaSet,
        nodes: Sequence[Node],
        replies: Sequence[Reply | None],
        deadline: Deadline,
    ) -> list[Reply | None]:
        rest = [node for node, reply in zip(nodes, replies, strict=True) if reply is None]
        if not rest:
            return list(replies)
        # Before any connection is taken, which others could use meanwhile.
        for node in rest:
            node.await_answer(deadline)
        late = replica_set.ask(deadline, rest, Node.is_worth_a_write)
        return filled_in(replies, answers(late))

    def _check_miss(self, replica_set: ReplicaSet, reached: Sequence[Held]) -> None:
        silent = replica_set.silent({copy.node for copy in reached})
        if silent:
            raise replica_set.unknown(silent)

    def _repair(
        self,
        replica_set: ReplicaSet,
        agreed: Record,
        differing: Sequence[Held],
        tokens: Tokens,
        held: Sequence[Held],
        deadline: Deadline,
    ) -> int | None:
        """
        Write `agreed` to the replicas that differ, and their new tokens into `tokens`.

        held: all copies that were read, one of which may be `agreed` itself.
        Return how many took it; None if one of them changed meanwhile. One that fails now counts
        as not reached.
        """
        now = self._clock()
        source = next((copy for copy in held if copy.record is agreed and copy.ttl >= 0), None)
        if source is None:
            ttl = wire.ttl(agreed, now)
        else:
            # As it stands there, and for as long: this process's clock has no say in it.
            agreed = agreed._replace(expires_at=agreed.expires_at - source.skew)
            ttl = wire.as_exptime(source.ttl, now)
        conditions = [
            (copy.node, ALWAYS if agreed.ended else condition(copy.cas)) for copy in differing
        ]
        replies = replica_set.write(agreed, conditions, ttl, deadline, repair=True)
        written, changed = 0, False
        for copy, reply in zip(differing, replies, strict=True):
            if reply is None or reply.status == REFUSED:
                del tokens[copy.node]
            elif not is_done(reply):
                changed = True
            else:
                tokens[copy.node] = reply.cas
                written += 1
        if changed:
            return None
        if len(tokens) < self._quorum:
            raise replica_set.unavailable(len(tokens), self._quorum)
        return written
