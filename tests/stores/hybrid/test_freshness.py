"""
Which writes are remembered that the cache missed, and which copies are in doubt for that.
"""

from __future__ import annotations

from itertools import count

from django_distsession.stores.hybrid.freshness import CLOCK_TOLERANCE, MissedWrites
from tests.stores.hybrid.conftest import REVALIDATE_AFTER
from tests.stores.manual_clock import ManualClock


def test_only_the_latest_write_that_was_missed_resolves_it() -> None:
    missed = MissedWrites(REVALIDATE_AFTER)
    assert missed.checkpoint("a").miss is None
    missed.add("a")
    first = missed.checkpoint("a").miss
    missed.add("a")
    missed.resolve("a", None)
    missed.resolve("a", first)
    assert missed.ids() == ["a"]
    missed.resolve("a", missed.checkpoint("a").miss)
    assert missed.ids() == []


def test_a_copy_lacks_what_was_written_after_it_was_validated() -> None:
    clock = ManualClock()
    missed = MissedWrites(REVALIDATE_AFTER, clock=clock.clock)
    before = int(clock.now)
    clock.now += 10.5
    missed.add("a")
    assert missed.is_outdated("a", before)
    # In the same second, or by a clock that is a little ahead.
    assert missed.is_outdated("a", int(clock.now + CLOCK_TOLERANCE))
    assert not missed.is_outdated("a", int(clock.now + CLOCK_TOLERANCE + 1))
    assert not missed.is_outdated("b", before)


def test_past_the_limit_all_copies_from_before_are_in_doubt() -> None:
    clock = ManualClock()
    missed = MissedWrites(REVALIDATE_AFTER, limit=3, clock=clock.clock)
    before = int(clock.now)
    names = map(str, count())
    for _ in range(3):
        missed.add(next(names))
    assert not missed.may_be_outdated("another", before)
    missed.add(next(names))
    assert missed.ids() == ["3"]
    assert missed.may_be_outdated("0", before)
    assert missed.may_be_outdated("another", before)
    assert not missed.is_outdated("another", before)
    assert not missed.may_be_outdated("another", before + int(CLOCK_TOLERANCE))


def test_what_no_copy_can_be_older_than_any_more_makes_room() -> None:
    clock = ManualClock()
    missed = MissedWrites(REVALIDATE_AFTER, limit=2, clock=clock.clock)
    missed.add("a")
    missed.add("b")
    clock.now += 1
    missed.add("a")
    clock.now += REVALIDATE_AFTER + CLOCK_TOLERANCE
    missed.add("c")
    assert missed.ids() == ["a", "c"]
    assert not missed.may_be_outdated("another", int(clock.now))
