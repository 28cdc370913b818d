"""
What both stores are told where their copies differ.
"""

from __future__ import annotations

import pytest
from django.contrib.auth import SESSION_KEY as USER_KEY

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
from tests.stores.hybrid.fakes import FakeStore, one_shot


@pytest.mark.parametrize("damaged", ["cache", "durable"])
def test_a_damaged_copy_is_replaced_by_the_other_of_the_same_version(
    tiers: Tiers, damaged: str
) -> None:
    process = tiers.process()
    key = create(process, a=1)
    store: FakeStore = getattr(tiers, damaged)
    record, token = store.held[storage_id(key)]
    store.held[storage_id(key)] = record._replace(payload=b"?"), token
    tiers.clock.now += REVALIDATE_AFTER
    assert contents(process, key) == {"a": 1}
    assert store.held[storage_id(key)][0].payload == record.payload


def test_a_copy_of_the_cache_reaches_the_durable_store_with_its_user(either: Tiers) -> None:
    process = either.process()
    key = create(process, **{USER_KEY: "42"})
    either.durable.up = False
    change(process, key, "b")
    either.durable.up = True
    # Which holds all that the durable store does, and is not merged.
    assert contents(process, key) == {USER_KEY: "42", "b": 1}
    cached, stored = either.cached(key), either.stored(key)
    assert cached is not None
    assert stored is not None
    assert stored.user == "42"
    assert stored.payload == cached.payload
    assert not cached.unsynced


def test_what_the_durable_store_took_without_a_reply_is_unsynced_no_longer(either: Tiers) -> None:
    process = either.process()
    key = create(process, a=1)
    either.durable.up, either.durable.loses_replies = False, True
    change(process, key, "b")
    either.durable.up = True
    record, token = either.cache.held[storage_id(key)]
    assert record.unsynced
    either.cache.held[storage_id(key)] = record.retained_until(record.expires_at + 1000), token
    assert contents(process, key) == {"a": 1, "b": 1}
    cached = either.cached(key)
    assert cached is not None
    assert not cached.unsynced
    assert cached.retention_deadline == record.expires_at + 1000


def test_what_is_told_to_the_cache_is_held_as_long_as_older_copies_live(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    killed_between_the_writes(tiers, process, key)
    copy, token = tiers.cache.held[storage_id(key)]
    longest = copy.expires_at + 1000
    tiers.cache.held[storage_id(key)] = copy.retained_until(longest), token
    tiers.clock.now += REVALIDATE_AFTER
    assert contents(process, key) == {"a": 1, "new": 1}
    cached = tiers.cached(key)
    assert cached is not None
    assert cached.retention_deadline == longest


def test_a_tombstone_that_the_cache_took_outlives_what_it_ends_in_the_durable_store(
    either: Tiers,
) -> None:
    process = either.process()
    key = create(process, a=1)
    either.durable.up = False
    loaded(process, key).flush()
    either.durable.up = True
    live, token = either.durable.held[storage_id(key)]
    longest = live.expires_at + 100_000
    either.durable.held[storage_id(key)] = live.retained_until(longest), token
    assert contents(process, key) is None
    stored = either.stored(key)
    assert stored is not None
    assert stored.ended
    assert stored.retention_deadline == longest


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


@pytest.mark.parametrize("is_refreshed", [False, True])
def test_a_copy_that_was_confirmed_since_the_durable_store_was_asked_is_not_gone(
    either: Tiers, is_refreshed: bool
) -> None:
    process, other = either.process(), either.process()
    either.durable.up = False
    key = create(process, a=1)
    session = loaded(process, key)
    either.durable.up = True
    # The durable store's answer is "nothing". While it is on its way, `other` tells the durable
    # store what the cache took alone, and the cache that it did.
    one_shot(either.durable, "get", lambda: contents(other, key), "after")
    if is_refreshed:
        assert hybrid_store(process).refresh(storage_id(key), 1) is not None
    session["b"] = 1
    session.save()
    assert contents(process, key) == {"a": 1, "b": 1}
