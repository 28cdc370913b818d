"""
Saves that reached the durable store and no server of the cache, whose older copies come back.
"""

from __future__ import annotations

import os

import pytest
from django.contrib.sessions.backends.base import UpdateError

from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.hybrid.freshness import CLOCK_TOLERANCE
from tests.stores.hybrid.conftest import (
    Process,
    Tiers,
    change,
    contents,
    create,
    loaded,
    storage_id,
    wait_for_handoff,
)
from tests.stores.hybrid.fakes import Killed, die, one_shot


def saved_without_the_cache(tiers: Tiers, process: Process, key: str, name: str = "b") -> None:
    tiers.cache.up = False
    change(process, key, name)
    tiers.cache.up = True


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


def test_a_save_that_reaches_the_cache_makes_good_for_one_that_did_not(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    session = loaded(process, key)
    tiers.cache.up = False
    session["b"] = 1
    session.save()
    tiers.cache.up = True
    tiers.cache.flush()
    session["c"] = 1
    session.save()
    tiers.durable.calls.clear()
    assert contents(process, key) == {"a": 1, "b": 1, "c": 1}
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


def test_a_read_that_began_before_a_write_was_missed_does_not_resolve_it(tiers: Tiers) -> None:
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
    wait_for_handoff()
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
    wait_for_handoff()
    tiers.durable.up = True
    tiers.cache.recover()
    wait_for_handoff()
    assert contents(other, first) == contents(other, second) == {"a": 1, "b": 1}


# Saves and logouts that are interrupted, or cancelled, before the cache is told.


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_save_that_is_interrupted_between_the_stores_is_not_missed(
    tiers: Tiers, where: str
) -> None:
    process = tiers.process()
    key = create(process, a=1)
    session = loaded(process, key)
    session["b"] = 1
    one_shot(tiers.cache if where == "before" else tiers.durable, "replace", die, where)
    with pytest.raises(Killed):
        session.save()
    assert contents(process, key) == {"a": 1, "b": 1}


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_logout_that_is_interrupted_between_the_stores_is_not_missed(
    tiers: Tiers, where: str
) -> None:
    process = tiers.process()
    key = create(process, a=1)
    session = loaded(process, key)
    if where == "before":
        one_shot(tiers.cache, "put_tombstone", die)
    else:
        one_shot(tiers.durable, "end", die, "after")
    with pytest.raises(Killed):
        session.flush()
    assert contents(process, key) is None
