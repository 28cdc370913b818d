"""
Which sessions need repair: the replicas of many are compared at a time, in one round trip.

Nearly always they hold the same, byte for byte, and that is all there is to be known. Whatever does
not is left to `repair`, which takes a session at a time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence

from . import wire
from .connection import FAILURES, Connection, Question
from .node import Node
from .protocol import DONE, GET, VALUE, Reply
from .replica_set import ReplicaSet

# How many sessions at a time. So many questions a socket takes at once, and so many answers, each
# perhaps as large as an item may be, there is memory for.
AT_ONCE = 64

# Asks whether there is such a key.
HAS = b"mg %b"


def differing(
    replica_sets: Sequence[ReplicaSet],
    listed_by: Node,
    gone_through: Collection[Node],
    until: Callable[[], float],
) -> Iterator[str]:
    """
    Yield the storage ids of those sessions that may need repair.

    listed_by: the server that holds a copy of each. gone_through: those whose sessions have been
    compared: what one of them holds is only looked for there. until: when a round trip that begins
    now has to be over, by the servers' clock.
    """
    for start in range(0, len(replica_sets), AT_ONCE):
        compared: list[tuple[ReplicaSet, Sequence[Node]]] = []
        questions: dict[Node, list[Question]] = defaultdict(list)
        for replica_set in replica_sets[start : start + AT_ONCE]:
            replicas = replica_set.replicas
            if listed_by not in replicas:
                yield replica_set.storage_id
                continue
            known = [node for node in replicas if node in gone_through][:1]
            question = replica_set.key, (HAS if known else GET) % replica_set.key
            compared.append((replica_set, known or replicas))
            for node in known or replicas:
                questions[node].append(question)
        answers = _ask(questions, until)
        for replica_set, asked in compared:
            replies = [next(answers[node], None) for node in asked]
            if not _is_settled(replica_set, replies, asked is replica_set.replicas):
                yield replica_set.storage_id


def _is_settled(
    replica_set: ReplicaSet, replies: Sequence[Reply | None], shows_values: bool
) -> bool:
    """
    Whether there is nothing to repair.
    """
    first = replies[0]
    if first is None or first.status != (VALUE if shows_values else DONE):
        return False
    if not shows_values:
        return True
    if any(reply is None or reply.value != first.value for reply in replies[1:]):
        return False
    try:
        return not wire.unpack(replica_set.of, first.value).unsynced
    except (wire.ForeignValue, wire.NewerFormat):
        # It is reported by whoever reads it.
        return False


def _ask(
    questions: dict[Node, list[Question]], until: Callable[[], float]
) -> dict[Node, Iterator[Reply]]:
    """
    Ask all servers before any answer is read. One that fails gives no answers.
    """
    answers: dict[Node, Iterator[Reply]] = dict.fromkeys(questions, iter(()))
    busy: dict[Node, Connection] = {}

    def fail(node: Node, error: Exception, given: float) -> None:
        node.pool.discard(busy.pop(node))
        node.no_answer(error, given)

    try:
        for node in questions:
            connection = node.take(until()) if node.breaker.allows() else None
            if connection is not None:
                busy[node] = connection
        for node, connection in tuple(busy.items()):
            try:
                connection.send_all(questions[node], until())
            except FAILURES as error:
                fail(node, error, math.inf)
        for node, connection in tuple(busy.items()):
            began = node.clock.monotonic()
            # Each has all the time, however long another one took: that happens once.
            over = until()
            try:
                answers[node] = iter(connection.receive_all(over))
            except FAILURES as error:
                fail(node, error, over - began)
            else:
                node.answered(node.clock.monotonic() - began)
                node.pool.release(busy.pop(node))
    finally:
        for node, connection in busy.items():
            node.pool.discard(connection)
    return answers
