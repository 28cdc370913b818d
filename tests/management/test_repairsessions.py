"""
How `repairsessions` goes through what servers list. What it repairs is tested with the stores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from django_distsession.management.commands.repairsessions import Counts, OutOfTime, Pace, Walk
from django_distsession.stores.repairing import Repair
from tests.stores.manual_clock import ManualClock


class Store:
    """
    A store that can repair a session, and no more.
    """

    nodes: Sequence[Any] = ()

    def __init__(self) -> None:
        self.repaired: list[str] = []

    def list_ids(self, node: Any) -> Any:
        raise NotImplementedError

    def repair(self, storage_id: str, misplaced: Any = None) -> Repair:
        self.repaired.append(storage_id)
        return Repair(True, 1, 0)


class ComparingStore(Store):
    """
    One that compares first. Every second session differs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gone_through: list[list[Any]] = []

    def differing(self, storage_ids: Any, listed_by: Any, gone_through: Any) -> Iterator[str]:
        self.gone_through.append(list(gone_through))
        yield from storage_ids[::2]


PACE = Pace(0, 0, ManualClock().clock)
LISTED = {"one": ["a", "b", "c"], "two": ["d", "e"]}


def test_a_store_that_cannot_compare_repairs_them_all() -> None:
    store, counts = Store(), Counts()
    assert list(Walk(store, None, counts).through(LISTED, 2, PACE)) == list("abcde")
    assert store.repaired == list("abcde")
    assert (counts.seen, counts.repaired, counts.copies) == (5, 5, 5)


def test_one_that_compares_repairs_what_differs() -> None:
    store, counts = ComparingStore(), Counts()
    assert list(Walk(store, None, counts).through(LISTED, 2, PACE)) == list("abcde")
    assert store.repaired == list("acd")
    assert (counts.seen, counts.repaired) == (5, 3)
    assert store.gone_through == [[], [], ["one"]]


class TestPace:
    def test_it_sleeps_until_the_rate_allows_so_many(self) -> None:
        clock, slept = ManualClock(), list[float]()
        pace = Pace(10, 0, clock.clock, slept.append)
        pace.keep(20)
        clock.now += 5
        pace.keep(30)
        assert slept == [2.0]

    def test_it_ends_when_the_time_is_up(self) -> None:
        clock = ManualClock()
        pace = Pace(0, 3, clock.clock)
        clock.now += 3
        pace.keep(1)
        clock.now += 0.1
        with pytest.raises(OutOfTime):
            pace.keep(2)

    def test_it_does_not_sleep_past_the_end(self) -> None:
        with pytest.raises(OutOfTime):
            Pace(1, 3, ManualClock().clock, lambda seconds: pytest.fail("slept")).keep(4)
