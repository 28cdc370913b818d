"""
What the hybrid store does when one tier knows something that the other does not.
"""

from __future__ import annotations

from contextlib import suppress
from secrets import token_hex

import pytest
from django.contrib.auth import SESSION_KEY as USER_KEY
from django.contrib.sessions.backends.base import CreateError, UpdateError

from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.hybrid import HybridStore
from tests.stores.hybrid.conftest import (
    REVALIDATE_AFTER,
    Process,
    Tiers,
    change,
    contents,
    create,
    hybrid_store,
    loaded,
    storage_id,
)
from tests.stores.hybrid.fakes import Killed, one_shot

SOON = 30.0


def die() -> None:
    raise Killed


def killed_between_the_writes(tiers: Tiers, process: Process, key: str) -> None:
    session = loaded(process, key)
    session["new"] = 1
    one_shot(tiers.cache, "replace", die)
    with pytest.raises(Killed):
        session.save()


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
    late = loaded(process, key)
    tiers.clock.now += REVALIDATE_AFTER
    assert contents(process, key) is None
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


# The cache away.


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


# The durable store away.


@pytest.mark.parametrize("is_either", [False, True])
def test_reads_go_on_from_the_cache_past_the_time_to_revalidate(is_either: bool) -> None:
    tiers = Tiers(is_either)
    process = tiers.process()
    key = create(process, a=1)
    tiers.durable.up = False
    for _ in range(3):
        tiers.clock.now += REVALIDATE_AFTER
        assert contents(process, key) == {"a": 1}
    tiers.cache.flush()
    with pytest.raises(StoreUnavailable):
        contents(process, key)


def test_a_copy_merged_from_replicas_during_an_outage_is_saved_after_it(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    record, token = tiers.cache.held[storage_id(key)]
    # Of which revision such a merge was made, nobody can tell.
    tiers.cache.held[storage_id(key)] = record._replace(source_rev="", validated_at=0), token
    tiers.durable.up = False
    session = loaded(process, key)
    tiers.durable.up = True
    session["b"] = 1
    session.save()
    tiers.cache.flush()
    assert contents(process, key) == {"a": 1, "b": 1}


def test_writes_are_refused_and_change_nothing(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    tiers.durable.up = False
    session = loaded(process, key)
    session["b"] = 1
    with pytest.raises(StoreUnavailable):
        session.save()
    with pytest.raises(StoreUnavailable):
        loaded(process, key).flush()
    with pytest.raises(StoreUnavailable):
        create(process, c=1)
    tiers.durable.up = True
    tiers.clock.now += REVALIDATE_AFTER
    assert contents(process, key) == {"a": 1}


def taken(either: Tiers, process: Process) -> str:
    """
    A session with a change that the cache took alone, while the durable store was away.
    """
    key = create(process, a=1)
    either.durable.up = False
    change(process, key, "b")
    assert either.cached(key) is not None
    return key


def test_a_change_that_the_cache_took_reaches_the_durable_store_by_the_next_read(
    either: Tiers,
) -> None:
    process = either.process()
    key = taken(either, process)
    assert contents(process, key) == {"a": 1, "b": 1}
    either.durable.up = True
    assert contents(either.process(), key) == {"a": 1, "b": 1}
    either.cache.flush()
    assert contents(either.process(), key) == {"a": 1, "b": 1}


def test_a_change_that_the_cache_took_reaches_the_durable_store_by_the_next_write(
    either: Tiers,
) -> None:
    process = either.process()
    key = taken(either, process)
    session = loaded(process, key)
    either.durable.up = True
    session["c"] = 1
    session.save()
    either.cache.flush()
    assert contents(process, key) == {"a": 1, "b": 1, "c": 1}


def test_a_writer_that_did_not_see_what_the_cache_took_keeps_it(either: Tiers) -> None:
    process = either.process()
    key = create(process, a=1)
    late = loaded(either.process(), key)
    either.durable.up = False
    change(process, key, "b")
    either.durable.up = True
    late["c"] = 1
    late.save()
    late["d"] = 1
    late.save()
    either.cache.flush()
    assert contents(process, key) == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_changes_on_both_sides_of_an_outage_are_merged(either: Tiers) -> None:
    # Two processes that disagree about whether the durable store is up.
    process, other = either.process(), either.process()
    key = create(process, a=1)
    late = loaded(other, key)
    either.durable.up = False
    change(process, key, "b")
    either.durable.up = True
    either.cache.up = False
    late["c"] = 1
    late.save()
    either.cache.up = True
    assert contents(process, key) == {"a": 1, "b": 1, "c": 1}
    either.cache.flush()
    assert contents(process, key) == {"a": 1, "b": 1, "c": 1}


def test_a_login_that_the_cache_took_reaches_the_durable_store_with_its_user(
    either: Tiers,
) -> None:
    process = either.process()
    either.durable.up = False
    key = create(process, **{USER_KEY: "42"})
    assert contents(either.process(), key) == {USER_KEY: "42"}
    either.durable.up = True
    assert contents(either.process(), key) == {USER_KEY: "42"}
    stored = either.stored(key)
    assert stored is not None
    assert stored.user == "42"


def test_a_key_that_the_cache_gave_away_is_not_given_away_again(either: Tiers) -> None:
    process = either.process()
    either.durable.up = False
    key = create(process, a=1)
    either.durable.up = True
    with pytest.raises(CreateError):
        process(key).save(must_create=True)
    assert contents(process, key) == {"a": 1}
    either.durable.up = False
    with pytest.raises(CreateError):
        process(key).save(must_create=True)
    loaded(process, key).flush()
    either.durable.up = True
    with pytest.raises(CreateError):
        process(key).save(must_create=True)


def test_a_logout_that_the_cache_took_ends_the_session_in_the_durable_store(
    either: Tiers,
) -> None:
    process = either.process()
    key = create(process, a=1)
    either.durable.up = False
    loaded(process, key).flush()
    assert contents(process, key) is None
    either.durable.up = True
    assert contents(process, key) is None
    either.cache.flush()
    assert contents(process, key) is None


def test_a_logout_that_the_cache_took_beats_who_still_sees_the_session_live(
    either: Tiers,
) -> None:
    process = either.process()
    key = create(process, a=1)
    late = loaded(either.process(), key)
    either.durable.up = False
    loaded(process, key).flush()
    either.durable.up = True
    late["b"] = 1
    with pytest.raises(UpdateError):
        late.save()
    assert contents(process, key) is None
    either.cache.flush()
    assert contents(process, key) is None


def test_a_login_and_logout_that_the_cache_took_are_not_undone_by_a_slow_sync(
    either: Tiers,
) -> None:
    process, other = either.process(), either.process()
    either.durable.up = False
    key = create(process, a=1)
    session = loaded(process, key)
    either.durable.up = True
    # `other` is about to bring the login to the durable store when the user logs out.
    one_shot(either.durable, "add", session.flush)
    # Nor does it live to see the tombstone in the cache.
    one_shot(either.cache, "replace", die)
    with suppress(Killed):
        contents(other, key)
    either.cache.flush()
    assert contents(process, key) is None


def test_a_write_whose_reply_was_lost_is_no_conflict_later(either: Tiers) -> None:
    process = either.process()
    key = create(process, a=1)
    session = loaded(process, key)
    either.durable.up, either.durable.loses_replies = False, True
    session["b"] = 1
    session.save()
    either.durable.up = True
    session["c"] = 1
    session.save()
    either.cache.flush()
    assert contents(process, key) == {"a": 1, "b": 1, "c": 1}


def test_with_both_tiers_away_writes_are_refused(either: Tiers) -> None:
    process = either.process()
    key = create(process, a=1)
    session = loaded(process, key)
    either.durable.up = either.cache.up = False
    session["b"] = 1
    with pytest.raises(StoreUnavailable):
        session.save()
    with pytest.raises(StoreUnavailable):
        session.flush()
    with pytest.raises(StoreUnavailable):
        create(process)


def test_a_cache_that_restarted_empty_takes_no_change_of_what_it_cannot_judge(
    either: Tiers,
) -> None:
    process = either.process()
    key = create(process, a=1)
    session = loaded(process, key)
    either.durable.up = False
    either.cache.flush()
    session["b"] = 1
    with pytest.raises(StoreUnavailable):
        session.save()


def test_a_cache_without_a_copy_takes_no_change_of_a_session_that_may_have_ended(
    either: Tiers,
) -> None:
    process = either.process()
    key = create(process, a=1)
    either.cache.up = False
    session = loaded(either.process(), key)
    loaded(process, key).flush()
    either.cache.flush()
    either.cache.up, either.durable.up = True, False
    session["b"] = 1
    with pytest.raises(StoreUnavailable):
        session.save()
    with pytest.raises(StoreUnavailable):
        contents(process, key)


def test_a_session_too_large_for_the_cache_is_not_taken(either: Tiers) -> None:
    process = either.process()
    key = create(process, a=1)
    session = loaded(process, key)
    either.durable.up = False
    either.cache.limit = 2000
    session["large"] = token_hex(4000)
    with pytest.raises(StoreUnavailable):
        session.save()


def test_nobody_is_logged_out_while_the_cache_that_may_know_the_session_is_away(
    either: Tiers,
) -> None:
    process = either.process()
    either.durable.up = False
    key = create(process, a=1)
    either.durable.up, either.cache.up = True, False
    with pytest.raises(StoreUnavailable):
        contents(process, key)
    either.cache.up = True
    assert contents(process, key) == {"a": 1}


def test_nobody_is_logged_out_while_a_server_of_the_cache_that_may_know_the_session_is_silent(
    either: Tiers,
) -> None:
    process = either.process()
    either.durable.up = False
    key = create(process, a=1)
    held = dict(either.cache.held)
    either.durable.up = True
    either.cache.flush()
    either.cache.silent = True
    with pytest.raises(StoreUnavailable, match="silent"):
        contents(process, key)
    either.cache.silent = False
    either.cache.held = held
    assert contents(process, key) == {"a": 1}


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


# Sessions that nobody touches.


def test_sync_tells_the_durable_store_what_the_cache_took(either: Tiers) -> None:
    process = either.process()
    changed, ended = create(process, a=1), create(process, a=1)
    either.durable.up = False
    change(process, changed, "b")
    loaded(process, ended).flush()
    fresh = create(process, c=1)
    store = hybrid_store(process)
    ids = [storage_id(key) for key in (changed, ended, fresh)]
    for one in ids:
        with pytest.raises(StoreUnavailable):
            store.sync(one)
    either.durable.up = True
    assert [store.sync(one) for one in ids] == [True] * 3
    assert [store.sync(one) for one in ids] == [False] * 3
    assert not store.sync("no such session")
    assert store.status() == [{"store": "hybrid", "taken_unsynced": 3, "synced": 3}]
    either.cache.flush()
    assert contents(process, changed) == {"a": 1, "b": 1}
    assert contents(process, ended) is None
    assert contents(process, fresh) == {"c": 1}


def test_sync_says_so_when_the_durable_store_takes_no_writes(
    either: Tiers, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = either.process()
    key = taken(either, process)
    either.durable.up = True

    def refuse(*args: object) -> None:
        raise StoreUnavailable("read-only")

    monkeypatch.setattr(either.durable, "replace", refuse)
    assert contents(process, key) == {"a": 1, "b": 1}
    with pytest.raises(StoreUnavailable):
        hybrid_store(process).sync(storage_id(key))
    monkeypatch.undo()
    assert hybrid_store(process).sync(storage_id(key))
    assert either.stored(key) is not None


def test_a_tombstone_in_the_cache_outlives_every_copy_there(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    copy, token = tiers.cache.held[storage_id(key)]
    longest = copy.expires_at + 1000
    tiers.cache.held[storage_id(key)] = copy.retained_until(longest), token
    tiers.durable.end(storage_id(key), copy.expires_at)
    tiers.clock.now += REVALIDATE_AFTER + 1
    assert contents(process, key) is None
    cached = tiers.cached(key)
    assert cached is not None
    assert cached.ended
    assert cached.expires_at == longest
