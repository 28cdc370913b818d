"""
What is compared with what, and how much it may be at the most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.measuring import Cell, Result
from benchmarks.operations import Operation


@dataclass(frozen=True, slots=True)
class Ratio:
    """
    The time of `over` divided by that of `under`. at_most: None where it is only to be shown.
    """

    operation: Operation
    over: str
    under: str
    at_most: float | None = None
    cpu: bool = False

    def __str__(self) -> str:
        return f"{self.operation}: {self.over} / {self.under}{', CPU' if self.cpu else ''}"

    def of(self, over: Result, under: Result) -> float:
        return over.cpu / under.cpu if self.cpu else over.wall / under.wall


@dataclass(frozen=True, slots=True)
class Verdict:
    label: str
    value: float
    at_most: float | None

    @property
    def is_met(self) -> bool | None:
        return None if self.at_most is None else self.value <= self.at_most


LOAD, SAVE = Operation.LOAD, Operation.SAVE
UNTOUCHED, READ, WRITE = Operation.UNTOUCHED, Operation.READ, Operation.WRITE

RATIOS = [
    Ratio(LOAD, "memcached-r1", "django-cache"),
    Ratio(LOAD, "memcached-r2", "django-cache"),
    Ratio(LOAD, "memcached-r1", "bare-memcached-1"),
    Ratio(LOAD, "memcached-r2", "bare-memcached-2"),
    Ratio(SAVE, "memcached-r1", "django-cache", 0.5),
    Ratio(SAVE, "memcached-r2", "django-cache", 0.65),
    Ratio(LOAD, "memcached-r3", "memcached-r2"),
    Ratio(SAVE, "memcached-r3", "memcached-r2"),
    Ratio(SAVE, "memcached-r1", "bare-memcached-1"),
    Ratio(SAVE, "memcached-r2", "bare-memcached-2", 2.0),
    Ratio(SAVE, "memcached-r1", "bare-signed-1"),
    Ratio(SAVE, "memcached-r2", "bare-signed-2"),
    Ratio(SAVE, "bare-signed-1", "django-cache"),
    Ratio(SAVE, "bare-signed-2", "django-cache"),
    Ratio(LOAD, "couchdb", "bare-couchdb", 1.3),
    Ratio(LOAD, "couchdb", "bare-couchdb", 2.0, cpu=True),
    Ratio(SAVE, "couchdb", "bare-couchdb", 1.25),
    Ratio(LOAD, "couchdb", "django-db"),
    Ratio(SAVE, "couchdb", "django-db"),
    Ratio(LOAD, "hybrid-r2", "memcached-r2", 1.15),
    Ratio(SAVE, "hybrid-r2", "couchdb", 1.15),
    Ratio(LOAD, "hybrid-r2", "django-cached_db"),
    Ratio(SAVE, "hybrid-r2", "django-cached_db"),
    Ratio(LOAD, "hybrid-r2", "django-cached_db-postgresql"),
    Ratio(SAVE, "hybrid-r2", "django-cached_db-postgresql"),
    Ratio(UNTOUCHED, "memcached-r1", "django-cache", 1.05),
    Ratio(UNTOUCHED, "memcached-r2", "django-cache", 1.05),
    Ratio(UNTOUCHED, "couchdb", "django-cache", 1.05),
    Ratio(UNTOUCHED, "hybrid-r2", "django-cache", 1.05),
    Ratio(READ, "memcached-r1", "django-cache", 0.6),
    Ratio(READ, "memcached-r2", "django-cache", 0.6),
    Ratio(READ, "hybrid-r2", "django-cache"),
    Ratio(READ, "hybrid-r2", "django-cached_db"),
    Ratio(WRITE, "memcached-r1", "django-cache", 0.5),
    Ratio(WRITE, "memcached-r2", "django-cache", 0.5),
    Ratio(WRITE, "hybrid-r2", "django-cached_db"),
    Ratio(READ, "hybrid-r2", "django-cached_db-postgresql"),
    Ratio(WRITE, "hybrid-r2", "django-cached_db-postgresql"),
]


def judge(results: Mapping[Cell, Result]) -> list[Verdict]:
    """
    Return what became of each ratio of which both sides were measured.
    """
    verdicts = []
    for ratio in RATIOS:
        over = results.get(Cell(ratio.operation, ratio.over))
        under = results.get(Cell(ratio.operation, ratio.under))
        if over and under:
            verdicts.append(Verdict(str(ratio), ratio.of(over, under), ratio.at_most))
    return verdicts
