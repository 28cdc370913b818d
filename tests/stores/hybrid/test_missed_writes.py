"""
Saves that reached the durable store and no server of the cache, whose older copies come back.
"""

from __future__ import annotations

import math
import os
import threading
from itertools import count

import pytest
from django.contrib.sessions.backends.base import UpdateError

from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.hybrid.freshness import CLOCK_TOLERANCE, MissedWrites
from django_distsession.stores.hybrid.handoff import Handoff
from tests.stores.hybrid.conftest import (
    REVALIDATE_AFTER,
    Process,
    Tiers,
    change,
    contents,
    create,
    loaded,
    storage_id,
)
from tests.stores.hybrid.fakes import FakeCache, one_shot
from tests.stores.manual_clock import ManualClock

SOON = 30.0


def saved_without_the_cache(tiers: Tiers, process: Process, key: str, name: str = "b") -> None:
    tiers.cache.up = False
    change(process, key, name)
    tiers.cache.up = True


def settle_down() -> None:
    """
    Return when what was missed has been told, or could not be.
    """
    for thread in threading.enumerate():
        if thread.name == "distsession-handoff":
            thread.join(SOON)
            assert not thread.is_alive()


# The process that made them.


def test_a_process_sees_its_own_save_when_the_cache_comes_back_with_an_old_copy(
    tiers: Tiers,
) -> None:
    process = tiers.process()
    key = create(process, a=1)
    saved_without_the_cache(tiers, process, key)
    assert contents(process, key) == {"a": 1, "b": 1}
    # It has told the cache, and believes it again.
    assert contents(tiers.process(), key) == {"a": 1, "b": 1}
    tiers.durable.calls.clear()
    assert contents(process, key) == {"a": 1, "b": 1}
    assert tiers.durable.calls == []


def test_a_session_that_ended_while_the_cache_was_away_is_over_for_who_ended_it(
    tiers: Tiers,
) -> None:
    process = tiers.process()
    key = create(process, a=1)
    tiers.cache.up = False
    loaded(process, key).flush()
    tiers.cache.up = True
    assert contents(process, key) is None
    assert contents(tiers.process(), key) is None


def test_who_learns_of_an_end_without_the_cache_remembers_it(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    tiers.cache.up = False
    late = loaded(process, key)
    tiers.durable.end(storage_id(key), 2_000_000_000)
    late["b"] = 1
    with pytest.raises(UpdateError):
        late.save()
    tiers.cache.up = True
    assert contents(process, key) is None


def test_a_session_grown_too_large_for_the_cache_does_not_shrink_again(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    copy = tiers.cache.held[storage_id(key)]
    tiers.cache.limit = 0
    change(process, key, "b")
    assert tiers.cached(key) is None
    # One of its servers was away, and comes back.
    tiers.cache.held[storage_id(key)] = copy
    assert contents(process, key) == {"a": 1, "b": 1}


def test_a_read_that_began_before_a_write_was_missed_does_not_settle_it(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    session = loaded(process, key)
    saved_without_the_cache(tiers, process, key)

    def miss_another() -> None:
        tiers.cache.up = False
        session["c"] = 1
        session.save()
        tiers.cache.up = True

    one_shot(tiers.durable, "get", miss_another, "after")
    assert contents(process, key) == {"a": 1, "b": 1}
    assert contents(process, key) == {"a": 1, "b": 1, "c": 1}


def test_a_copy_that_is_known_to_be_outdated_is_not_shown_when_nobody_knows_better(
    tiers: Tiers,
) -> None:
    process = tiers.process()
    key = create(process, a=1)
    tiers.cache.up = False
    loaded(process, key).flush()
    tiers.cache.up, tiers.durable.up = True, False
    with pytest.raises(StoreUnavailable):
        contents(process, key)
    tiers.durable.up = True
    assert contents(process, key) is None


def test_a_forked_child_knows_what_its_parent_missed(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    saved_without_the_cache(tiers, process, key)
    child = os.fork()
    if child == 0:
        os._exit(0 if contents(process, key) == {"a": 1, "b": 1} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# Other processes.


def test_a_process_that_saw_all_of_the_cache_away_believes_no_copy_from_before(
    tiers: Tiers,
) -> None:
    process, other = tiers.process(), tiers.process()
    key = create(process, a=1)
    saved_without_the_cache(tiers, process, key)
    tiers.cache.since = tiers.clock.now + 1
    assert contents(other, key) == {"a": 1, "b": 1}
    tiers.clock.now += 1 + CLOCK_TOLERANCE
    assert contents(other, key) == {"a": 1, "b": 1}
    # Validated since then, by whoever it was.
    tiers.durable.calls.clear()
    assert contents(other, key) == {"a": 1, "b": 1}
    assert tiers.durable.calls == []


def test_what_was_missed_is_told_when_the_cache_is_back(tiers: Tiers) -> None:
    process, other = tiers.process(), tiers.process()
    changed, ended, untouched = (create(process, a=1) for _ in range(3))
    tiers.cache.up = False
    change(process, changed, "b")
    loaded(process, ended).flush()
    tiers.durable.calls.clear()
    tiers.cache.recover()
    settle_down()
    assert contents(other, changed) == {"a": 1, "b": 1}
    assert contents(other, ended) is None
    assert contents(other, untouched) == {"a": 1}
    assert tiers.durable.calls == ["get", "get"]


def test_what_cannot_be_told_when_the_cache_is_back_is_told_later(tiers: Tiers) -> None:
    process, other = tiers.process(), tiers.process()
    first, second = create(process, a=1), create(process, a=1)
    tiers.cache.up = False
    change(process, first, "b")
    change(process, second, "b")
    tiers.durable.up = False
    tiers.cache.recover()
    settle_down()
    tiers.durable.up = True
    tiers.cache.recover()
    settle_down()
    assert contents(other, first) == contents(other, second) == {"a": 1, "b": 1}


def test_while_one_handoff_is_under_way_another_waits_for_its_turn() -> None:
    missed = MissedWrites(REVALIDATE_AFTER)
    missed.add("a")
    told: list[str] = []

    def bring(storage_id: str) -> None:
        told.append(storage_id)
        if len(told) == 1:
            missed.add("b")
            for _ in range(3):
                handoff.begin()

    handoff = Handoff(FakeCache(), missed, bring)
    handoff.begin()
    settle_down()
    assert told == ["a", "a", "b"]
    assert [thread.name for thread in threading.enumerate()].count("distsession-handoff") == 0


def test_a_session_whose_servers_are_still_away_is_left_for_later() -> None:
    missed, cache = MissedWrites(REVALIDATE_AFTER), FakeCache()
    missed.add("a")
    cache.since = math.inf
    told: list[str] = []
    Handoff(cache, missed, told.append).begin()
    settle_down()
    assert told == []


# What is remembered.


def test_only_the_latest_write_that_was_missed_settles_it() -> None:
    missed = MissedWrites(REVALIDATE_AFTER)
    assert missed.latest("a") is None
    missed.add("a")
    first = missed.latest("a")
    missed.add("a")
    missed.resolve("a", None)
    missed.resolve("a", first)
    assert missed.ids() == ["a"]
    missed.resolve("a", missed.latest("a"))
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
