"""
The cache away, or not taking what it is given: all works from the durable store.
"""

from __future__ import annotations

import pytest

from tests.stores.hybrid.conftest import (
    REVALIDATE_AFTER,
    Tiers,
    change,
    contents,
    create,
    killed_between_the_writes,
    loaded,
)


def test_without_the_cache_everything_works_from_the_durable_store(tiers: Tiers) -> None:
    tiers.cache.up = False
    process = tiers.process()
    key = create(process, a=1)
    change(process, key, "b")
    assert contents(process, key) == {"a": 1, "b": 1}
    assert contents(process, "no such session") is None
    loaded(process, key).flush()
    assert contents(process, key) is None


def test_a_cache_that_comes_back_with_old_copies_is_believed_for_a_while_only(
    tiers: Tiers,
) -> None:
    process = tiers.process()
    changed, ended = create(process, a=1), create(process, a=1)
    tiers.cache.up = False
    change(process, changed, "b")
    loaded(process, ended).flush()
    tiers.cache.up = True
    tiers.clock.now += REVALIDATE_AFTER
    assert contents(process, changed) == {"a": 1, "b": 1}
    assert contents(process, ended) is None


def test_a_session_read_without_the_cache_is_saved_with_it(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    tiers.cache.up = False
    session = loaded(process, key)
    tiers.cache.up = True
    session["b"] = 1
    session.save()
    assert contents(process, key) == {"a": 1, "b": 1}
    assert tiers.durable.calls.count("get") == 1


@pytest.mark.parametrize("is_old", [False, True])
def test_a_cache_that_refuses_a_newer_copy_loses_the_older(tiers: Tiers, is_old: bool) -> None:
    process = tiers.process()
    key = create(process, a=1)
    if is_old:
        tiers.clock.now += REVALIDATE_AFTER
    tiers.cache.refuses = True
    change(process, key, "b")
    assert contents(process, key) == {"a": 1, "b": 1}


def test_a_reader_finds_the_cache_refusing_and_leaves_no_older_copy(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    killed_between_the_writes(tiers, process, key)
    tiers.clock.now += REVALIDATE_AFTER
    tiers.cache.refuses = True
    assert contents(process, key) == {"a": 1, "new": 1}
    assert tiers.cached(key) is None
