"""
The durable store away: what is read goes on, and the cache takes writes where it may.
"""

from __future__ import annotations

from contextlib import suppress
from secrets import token_hex

import pytest
from django.contrib.auth import SESSION_KEY as USER_KEY
from django.contrib.sessions.backends.base import CreateError, UpdateError

from django_distsession.exceptions import StoreUnavailable
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
from tests.stores.hybrid.fakes import Killed, die, one_shot


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
