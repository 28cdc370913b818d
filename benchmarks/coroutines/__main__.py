"""
Load, change and save a session of 50 integers, on two replicas, in 1, 8, 64 and 512 coroutines:
microseconds of CPU and of wall time per operation, and their ratios.

A process of its own, since it brings its own settings: `python -m benchmarks.coroutines`. By
`taskset -c 0` what waits for a CPU to wake is left out of the comparison.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from statistics import median
from typing import Any, NamedTuple

import django
from django.conf import settings

from benchmarks.coroutines.floor import Floor, Pipeline
from testproject.servers import memcached_nodes

OURS = "django_distsession.backends.memcached"
DJANGOS = "django.contrib.sessions.backends.cache"

COROUTINES = (1, 8, 64, 512)
OPERATIONS = 1024
ROUNDS = 9
# One for each coroutine: what saves of one session cost that meet, `benchmarks/crowd.py` tells.
SESSIONS = max(COROUTINES)
VALUES = {f"k{number}": number * 1_000_003 for number in range(50)}

Change = Callable[[], Awaitable[None]]

# What is to be at most so many times what, at how many coroutines.
TARGETS = [
    ("ours", "django", "cpu", 64, 0.25),
    ("ours", "django", "wall", 64, 0.25),
    ("ours", "sync", "cpu", 64, 0.6),
    ("ours", "floor", "cpu", 64, 4.0),
    ("ours", "django", "cpu", 1, 0.6),
    ("ours", "django", "wall", 1, 0.6),
]


class Cost(NamedTuple):
    """
    Microseconds per operation.
    """

    cpu: float
    wall: float


def main() -> None:
    with memcached_nodes(2) as nodes:
        addresses = [node.address for node in nodes]
        _configure(addresses)
        costs = _measure(addresses)
    for (name, coroutines), cost in costs.items():
        print(f"{name:8} {coroutines:4} coroutines  cpu {cost.cpu:6.1f}  wall {cost.wall:6.1f}")
    print()
    for over, under, what, coroutines, at_most in TARGETS:
        # Sync code is measured once, alone.
        base = costs[under, 1 if under == "sync" else coroutines]
        ratio = getattr(costs[over, coroutines], what) / getattr(base, what)
        label = f"{over} / {under}, {what}, {coroutines} coroutines"
        met = "met" if ratio <= at_most else "MISSED"
        print(f"{label}: {ratio:.2f} (at most {at_most}) {met}")


def _configure(addresses: Sequence[str]) -> None:
    settings.configure(
        SECRET_KEY="for-this-benchmark-only" * 3,
        INSTALLED_APPS=["django_distsession", "django.contrib.sessions"],
        USE_TZ=True,
        SESSION_ENGINE=OURS,
        CACHES={
            "default": {
                "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
                "LOCATION": list(addresses),
            }
        },
        DISTSESSION={"MEMCACHED": {"SERVERS": list(addresses), "REPLICAS": 2}},
    )
    django.setup()


def _measure(addresses: Sequence[str]) -> dict[tuple[str, int], Cost]:
    taken: dict[tuple[str, int], list[Cost]] = {}
    for number in range(ROUNDS):
        if sys.stderr.isatty():
            print(f"round {number + 1} of {ROUNDS}", end="\r", file=sys.stderr)
        taken.setdefault(("sync", 1), []).append(_sync())
        for name, coroutines, cost in asyncio.run(_round(addresses)):
            taken.setdefault((name, coroutines), []).append(cost)
    return {
        cell: Cost(median(cost.cpu for cost in costs), median(cost.wall for cost in costs))
        for cell, costs in taken.items()
    }


async def _round(addresses: Sequence[str]) -> list[tuple[str, int, Cost]]:
    floor = Floor([await Pipeline.connect(one) for one in addresses], _keys(range(SESSIONS)))
    await floor.begin(VALUES, SESSIONS)
    changes = {
        "floor": floor.change,
        "ours": await _change_of(OURS),
        "django": await _change_of(DJANGOS),
    }
    costs = []
    for coroutines in COROUTINES:
        for name, change in changes.items():
            await _run(change, coroutines, coroutines)
            costs.append((name, coroutines, await _run(change, coroutines, OPERATIONS)))
    floor.close()
    return costs


def _keys(numbers: range) -> list[str]:
    return [f"floor{number}" for number in numbers]


async def _run(change: Change, coroutines: int, operations: int) -> Cost:
    async def work() -> None:
        for _ in range(max(1, operations // coroutines)):
            await change()

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(coroutines)))
    done = coroutines * max(1, operations // coroutines)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Cost(cpu / done * 1e6, wall / done * 1e6)


async def _change_of(engine: str) -> Change:
    store: Any = import_module(engine).SessionStore
    keys = []
    for _ in range(SESSIONS):
        session = store()
        await session.aupdate(VALUES)
        await session.acreate()
        keys.append(session.session_key)
    cycle = itertools.cycle(keys)

    async def change() -> None:
        session = store(next(cycle))
        await session.aset("k7", await session.aget("k7") + 1)
        await session.asave()

    return change


def _sync() -> Cost:
    store: Any = import_module(OURS).SessionStore
    keys = []
    for _ in range(SESSIONS):
        session = store()
        session.update(VALUES)
        session.create()
        keys.append(session.session_key)
    cpu, wall = time.process_time(), time.perf_counter()
    for key in itertools.islice(itertools.cycle(keys), OPERATIONS):
        session = store(key)
        session["k7"] = session["k7"] + 1
        session.save()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Cost(cpu / OPERATIONS * 1e6, wall / OPERATIONS * 1e6)


if __name__ == "__main__":
    main()
