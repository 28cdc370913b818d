"""
Processes that fight for one value, and a count of the saves that were undone by what they had seen.

In a long form, on real servers of its own:

    python -m tests.stores.memcached.fights memcached|hybrid [PROCESSES [ROUNDS]]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

from testproject.servers import couchdb_server, memcached_nodes
from tests.stores.memcached.workers import Process, workers

BEGINNING = "beginning"


def fight(processes: Sequence[Process], rounds: int) -> list[list[Any]]:
    """
    Let all processes overwrite one value so many times each. Return what the operation `fight`
    returns, of all of them.
    """
    key = processes[0]("create", {"value": BEGINNING})
    for number, process in enumerate(processes):
        process.tell("fight", key, f"{number}-", rounds)
    return [entry for process in processes for entry in process.hear() or []]


def undone(log: Iterable[Sequence[Any]]) -> list[str]:
    """
    Return the values that were read although a later one was known: somebody had read the value,
    written another in its place, and was done, or was read, before that read began.
    """
    log = list(log)
    known: dict[str, float] = {}
    for saw, wrote, _, seen_at, saved_at in log:
        known[wrote] = min(saved_at, known.get(wrote, saved_at))
        known[saw] = min(seen_at, known.get(saw, seen_at))
    outdated: dict[str, float] = {}
    for saw, wrote, *_ in log:
        outdated[saw] = min(known[wrote], outdated.get(saw, known[wrote]))
    return [saw for saw, _, began, *_ in log if outdated[saw] < began]


def main() -> None:
    engine = sys.argv[1]
    count, rounds = (int(number) for number in [*sys.argv[2:], "6", "5000"][:2])
    with (
        memcached_nodes(3) as nodes,
        couchdb_server() if engine == "hybrid" else nullcontext() as couchdb,
        workers(count, nodes, 2, 1, couchdb) as processes,
    ):
        log = fight(processes, rounds)
        failed = [error for process in processes for error in process.failed]
        print(f"{2 * len(log)} requests, {len(undone(log))} saves undone, failed: {failed}")


if __name__ == "__main__":
    main()
