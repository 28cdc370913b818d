"""
One of three memcached servers hangs: what does a load cost then?
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from benchmarks.engines.sessions import session_operations
from benchmarks.measuring import Samples, take_turn, timed
from benchmarks.operations import Operation
from benchmarks.ratios import Verdict
from benchmarks.site import close_stores
from testproject.servers import MemcachedNode

CONTENDER = "memcached-r2"
AT_MOST = 1.2
# Each costs a time-out, so there are fewer than rounds of everything else.
MOST_ROUNDS = 12
# Among so many sessions there are some that the hung server holds.
LEAST_BATCH = 10


@dataclass(frozen=True, slots=True)
class HungNode:
    """
    Microseconds per load, medians. finding_out: of the one load in each round that met the hung
    server.
    """

    healthy: float
    hung: float
    finding_out: float

    @property
    def verdict(self) -> Verdict:
        label = f"{Operation.LOAD}: {CONTENDER} with one of three nodes hung / all healthy"
        return Verdict(label, self.hung / self.healthy, AT_MOST)


def measure(nodes: Sequence[MemcachedNode], *, rounds: int, batch: int) -> HungNode:
    from django_distsession.backends.memcached import SessionStore

    load = session_operations(SessionStore)[Operation.LOAD]
    batch = max(batch, LEAST_BATCH)
    healthy, hung, finding_out = Samples(), Samples(), []
    for number in range(min(rounds, MOST_ROUNDS)):
        close_stores()
        take_turn(load, healthy, batch)
        with _paused(nodes[number % len(nodes)]):
            finding_out.append(max(timed(load) for _ in range(batch)))
            take_turn(load, hung, batch)
    close_stores()
    walls = (median(walls) / 1000 for walls in (healthy.walls, hung.walls, finding_out))
    return HungNode(*walls)


@contextmanager
def _paused(node: MemcachedNode) -> Iterator[None]:
    logger = logging.getLogger("django_distsession.memcached")
    # It would tell us of what we did.
    logger.disabled = True
    node.pause()
    try:
        yield
    finally:
        node.resume()
        logger.disabled = False
