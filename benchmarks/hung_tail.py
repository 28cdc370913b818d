"""
One of three memcached servers hangs for a whole run of several processes: what do the slowest
loads cost then?

A process has to find out, by a time-out, that a server hangs. The loads that it makes until then
are left out; all that come later count, those too that try whether the server is back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from benchmarks.operations import Operation
from benchmarks.ratios import Verdict
from benchmarks.sample import sample_session
from testproject.servers import MemcachedNode
from testproject.workers import Worker, running_workers

PROCESSES = 2
# Enough that some are on every pair of servers.
SESSIONS = 12
# Of one process, between two loads: as on a site that has something else to do as well. Thus a
# time-out now and then is more than one load in a thousand.
PAUSE = 0.01
AT_MOST = 2.0


@dataclass(frozen=True, slots=True)
class HungTail:
    """
    Microseconds that 999 of 1000 loads keep to, and of the slowest one. finding_out: of the slowest
    load with which a process found out. loads: how many were timed, each time.
    """

    healthy: float
    healthy_slowest: float
    hung: float
    hung_slowest: float
    finding_out: float
    loads: int

    @property
    def verdict(self) -> Verdict:
        label = f"{Operation.LOAD}: p99.9 with one of three nodes hung for long / all healthy"
        return Verdict(label, self.hung / self.healthy, AT_MOST)


def measure(
    nodes: Sequence[MemcachedNode], distsession: dict[str, Any], *, seconds: float
) -> HungTail:
    """
    distsession: the setting. seconds: how long each of the two runs takes.
    """
    with running_workers(PROCESSES, quiet=True) as workers:
        for worker in workers:
            worker.do("configure", "memcached", distsession)
        keys = [workers[0].do("create", sample_session()) for _ in range(SESSIONS)]
        # Connections are open after this.
        _load(workers, keys, 0.0)
        healthy = _load(workers, keys, seconds)
        with _hung(nodes[0]):
            finding_out = [time for worker in workers for time in worker.do("find_out", keys)]
            hung = _load(workers, keys, seconds)
    return HungTail(
        _p999(healthy), max(healthy), _p999(hung), max(hung), max(finding_out), len(hung)
    )


def _load(workers: Sequence[Worker], keys: list[str], seconds: float) -> list[float]:
    for worker in workers:
        worker.tell("time_loads", keys, seconds, PAUSE)
    answers = [worker.hear() for worker in workers]
    assert not any(answer.error for answer in answers), answers
    return [time for answer in answers for time in answer.result]


def _p999(times: Sequence[float]) -> float:
    return quantiles(times, n=1000, method="inclusive")[-1]


@contextmanager
def _hung(node: MemcachedNode) -> Iterator[None]:
    node.pause()
    try:
        yield
    finally:
        node.resume()
