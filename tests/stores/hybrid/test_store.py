"""
What the hybrid store does when one tier knows something that the other does not.
"""

from __future__ import annotations

from secrets import token_hex

import pytest
from django.contrib.sessions.backends.base import UpdateError

from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.hybrid import HybridStore
from tests.stores.hybrid.conftest import (
    REVALIDATE_AFTER,
    Tiers,
    change,
    contents,
    create,
    hybrid_store,
    killed_between_the_writes,
    loaded,
    storage_id,
)
from tests.stores.hybrid.fakes import Killed, die, one_shot


def test_both_tiers_hold_the_same_version_and_the_cache_knows_the_revision(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    change(process, key, "b")
    cached, stored = tiers.cached(key), tiers.stored(key)
    assert cached is not None
    assert stored is not None
    assert cached.version == stored.version
    assert cached.source_rev == tiers.durable.held[storage_id(key)][1]
    assert cached.validated_at == tiers.clock.now


def test_a_load_costs_one_read_of_the_cache_and_a_save_one_write_of_each(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    tiers.cache.calls.clear()
    tiers.durable.calls.clear()
    change(process, key, "b")
    assert tiers.cache.calls == ["get", "replace"]
    assert tiers.durable.calls == ["replace"]


def test_after_a_kill_between_the_writes_readers_see_the_change_once_the_copy_is_too_old(
    tiers: Tiers,
) -> None:
    process = tiers.process()
    key = create(process, a=1)
    killed_between_the_writes(tiers, process, key)
    other = tiers.process()
    tiers.clock.now += REVALIDATE_AFTER - 1
    assert contents(other, key) == {"a": 1}
    tiers.clock.now += 1
    assert contents(other, key) == {"a": 1, "new": 1}
    assert contents(tiers.process(), key) == {"a": 1, "new": 1}


def test_after_a_kill_between_the_writes_the_next_writer_overwrites_nothing(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    killed_between_the_writes(tiers, process, key)
    change(tiers.process(), key, "later")
    expected = {"a": 1, "new": 1, "later": 1}
    assert contents(tiers.process(), key) == expected
    tiers.cache.flush()
    assert contents(tiers.process(), key) == expected


def test_a_session_whose_end_was_cut_short_is_dead_once_the_copy_is_too_old(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    one_shot(tiers.cache, "put_tombstone", die)
    with pytest.raises(Killed):
        loaded(process, key).flush()
    # For those who do not know of it.
    other = tiers.process()
    late = loaded(other, key)
    tiers.clock.now += REVALIDATE_AFTER
    assert contents(other, key) is None
    late["b"] = 1
    with pytest.raises(UpdateError):
        late.save()


def test_who_learns_of_an_end_from_the_durable_store_tells_the_cache(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    tiers.durable.end(storage_id(key), 2_000_000_000)
    late = loaded(process, key)
    late["b"] = 1
    with pytest.raises(UpdateError):
        late.save()
    assert contents(process, key) is None


@pytest.mark.parametrize("name", ["add", "replace"])
def test_a_fill_does_not_overwrite_what_was_written_meanwhile(tiers: Tiers, name: str) -> None:
    process, other = tiers.process(), tiers.process()
    key = create(process, a=1)
    late = loaded(other, key)
    late["b"] = 1
    if name == "add":
        tiers.cache.flush()
    else:
        tiers.clock.now += REVALIDATE_AFTER
    one_shot(tiers.cache, name, late.save)
    contents(process, key)
    assert contents(process, key) == {"a": 1, "b": 1}
    assert tiers.durable.calls.count("replace") == 1


@pytest.mark.parametrize("name", ["add", "replace"])
def test_a_fill_does_not_revive_what_ended_meanwhile(tiers: Tiers, name: str) -> None:
    process, other = tiers.process(), tiers.process()
    key = create(process, a=1)
    late = loaded(other, key)
    if name == "add":
        tiers.cache.flush()
    else:
        tiers.clock.now += REVALIDATE_AFTER
    one_shot(tiers.cache, name, late.flush)
    contents(process, key)
    assert contents(process, key) is None


@pytest.mark.parametrize("name", ["get", "replace"])
def test_a_process_held_up_between_the_tiers_does_not_make_its_copy_younger(
    tiers: Tiers, name: str
) -> None:
    process, other = tiers.process(), tiers.process()
    key = create(process, a=1)
    tiers.cache.up = False
    session = loaded(process, key)
    tiers.cache.up = True
    tiers.cache.flush()

    def long_pause() -> None:
        tiers.clock.now += 2 * REVALIDATE_AFTER
        change(other, key, "c")
        tiers.cache.flush()

    one_shot(tiers.durable, name, long_pause, "after")
    if name == "get":
        contents(process, key)
        expected = {"a": 1, "c": 1}
    else:
        session["b"] = 1
        session.save()
        expected = {"a": 1, "b": 1, "c": 1}
    assert tiers.cached(key) is not None
    assert contents(process, key) == expected


def test_an_old_copy_is_confirmed_once_and_then_believed_again(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    tiers.clock.now += REVALIDATE_AFTER
    tiers.durable.calls.clear()
    contents(process, key)
    contents(process, key)
    assert tiers.durable.calls == ["get"]


def test_a_copy_of_what_the_durable_store_lost_is_forgotten(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    tiers.durable.held.clear()
    tiers.clock.now += REVALIDATE_AFTER
    assert contents(process, key) is None
    assert tiers.cached(key) is None


def test_saving_what_the_durable_store_lost_tells_that_it_is_gone(tiers: Tiers) -> None:
    process = tiers.process()
    session = loaded(process, create(process, a=1))
    tiers.durable.held.clear()
    session["b"] = 1
    with pytest.raises(UpdateError):
        session.save()


def test_what_a_durable_store_that_was_set_back_lost_is_restored_from_the_cache(
    tiers: Tiers,
) -> None:
    process = tiers.process()
    key = create(process, a=1)
    backup = dict(tiers.durable.held)
    change(process, key, "b")
    tiers.durable.held = backup
    tiers.clock.now += REVALIDATE_AFTER
    assert contents(process, key) == {"a": 1, "b": 1}
    tiers.cache.flush()
    assert contents(process, key) == {"a": 1, "b": 1}


def test_a_session_too_large_for_the_cache_lives_in_the_durable_store_alone(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    tiers.cache.limit = 2000
    large = token_hex(4000)
    change(process, key, "large", large)
    assert tiers.cached(key) is None
    for _ in range(2):
        assert contents(process, key) == {"a": 1, "large": large}
    session = loaded(process, key)
    session["large"] = ""
    session.save()
    assert tiers.cached(key) is not None
    assert contents(process, key) == {"a": 1, "large": ""}


def test_the_older_copy_of_a_session_grown_too_large_goes_though_another_wrote_it(
    tiers: Tiers,
) -> None:
    process, other = tiers.process(), tiers.process()
    key = create(process, a=1)
    tiers.cache.flush()
    tiers.cache.up = False
    session = loaded(process, key)
    tiers.cache.up = True
    contents(other, key)
    tiers.cache.limit = 2000
    session["large"] = token_hex(4000)
    session.save()
    assert tiers.cached(key) is None


def test_a_session_that_takes_the_key_of_an_expired_one_inherits_nothing(tiers: Tiers) -> None:
    process = tiers.process()
    session = process()
    session["old"] = "secret"
    session.set_expiry(-1)
    session.create()
    key = session.session_key or ""
    tiers.durable.held.clear()
    again = process(key)
    again.clear()
    again["new"] = 1
    again.save(must_create=True)
    assert contents(process, key) == {"new": 1}
    assert contents(tiers.process(), key) == {"new": 1}


def test_a_look_further_asks_the_durable_store_at_once(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    killed_between_the_writes(tiers, process, key)
    found = hybrid_store(process).refresh(storage_id(key), 2)
    assert found is not None
    assert found.record.version.generation == 2
    assert contents(process, key) == {"a": 1, "new": 1}


def test_where_the_durable_store_alone_takes_writes_it_alone_knows_what_is_missing(
    tiers: Tiers,
) -> None:
    tiers.cache.silent = True
    assert contents(tiers.process(), "no such session") is None


def test_what_the_two_are_called_is_not_for_the_store_to_know(either: Tiers) -> None:
    store = HybridStore(
        either.cache,
        either.durable,
        merge=lambda storage_id, records: None,
        revalidate_after=REVALIDATE_AFTER,
        either=True,
        names=("Redis", "PostgreSQL"),
    )
    either.cache.up = False
    with pytest.raises(StoreUnavailable, match=r"^PostgreSQL does not .* Redis, which may .*"):
        store.get("x")
