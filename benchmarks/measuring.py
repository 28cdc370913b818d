"""
Timing in alternation: every round everybody has a turn of a few operations, in an order that
changes from round to round but not from run to run.
"""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median, quantiles
from time import perf_counter_ns, thread_time_ns
from typing import NamedTuple

from benchmarks.operations import Operation, Operations

SEED = 2011


class Cell(NamedTuple):
    operation: Operation
    contender: str


@dataclass(slots=True)
class Samples:
    """
    Nanoseconds. walls: of each operation. cpus: of this thread, per operation, by turn: reading
    that clock costs too much to do so around each.
    """

    walls: list[int] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Result:
    """
    Microseconds per operation: medians, and the time that 9 of 10 keep to.
    """

    wall: float
    wall_p90: float
    cpu: float
    count: int


def measure(contenders: Mapping[str, Operations], *, rounds: int, batch: int) -> dict[Cell, Result]:
    calls = {
        Cell(operation, name): operations[operation]
        for operation in Operation
        for name, operations in contenders.items()
        if operation in operations
    }
    samples = {cell: Samples() for cell in calls}
    shuffle = random.Random(SEED).shuffle
    # What is alive by now stays so: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    for number in range(rounds):
        _show_progress(number, rounds)
        for cell in _one_round(list(calls), shuffle):
            take_turn(calls[cell], samples[cell], batch)
    gc.unfreeze()
    _show_progress(rounds, rounds)
    return {cell: summarise(taken) for cell, taken in samples.items()}


def take_turn(call: Callable[[], object], samples: Samples, batch: int) -> None:
    # Connections that the one before made Django close are open again after this.
    call()
    cpu = thread_time_ns()
    for _ in range(batch):
        samples.walls.append(timed(call))
    samples.cpus.append((thread_time_ns() - cpu) / batch)


def timed(call: Callable[[], object]) -> int:
    start = perf_counter_ns()
    call()
    return perf_counter_ns() - start


def summarise(samples: Samples) -> Result:
    walls = [wall / 1000 for wall in samples.walls]
    p90 = quantiles(walls, n=10, method="inclusive")[-1] if len(walls) > 1 else walls[0]
    return Result(median(walls), p90, median(samples.cpus) / 1000, len(walls))


def _one_round(cells: list[Cell], shuffle: Callable[[list[Cell]], None]) -> list[Cell]:
    # Those that do the same follow each other, as they are what is compared.
    shuffle(cells)
    order = list(dict.fromkeys(cell.operation for cell in cells))
    return sorted(cells, key=lambda cell: order.index(cell.operation))


def _show_progress(done: int, rounds: int) -> None:
    if sys.stderr.isatty():
        end = "\r" if done < rounds else "\n"
        print(f"round {done} of {rounds}", end=end, file=sys.stderr, flush=True)
