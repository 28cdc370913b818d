"""
What a store can do besides, if it can.
"""

from __future__ import annotations

import secrets
from typing import NoReturn

import pytest

from ...stores.abilities import (
    Closable,
    Collectable,
    Inspectable,
    Monitored,
    Refreshable,
    UserIndex,
    end_for_user,
    parts_of,
)
from ...stores.cache import CacheStore
from ...stores.contract import Store
from ...stores.garbage import GCOptions
from ...stores.record import Record
from ..records import HOUR, with_word
from .base import StoreTests, assert_ended, assert_holds, assert_same, conflict_of, stored


def lacks(store: Store, ability: str) -> NoReturn:
    pytest.skip(f"{type(store).__name__} is not {ability}.")


class Abilities(StoreTests):
    """
    Those of `stores.abilities`. A test is skipped where the store does not have the ability.
    """

    @pytest.fixture
    def collectable(self, store: Store) -> Collectable:
        return store if isinstance(store, Collectable) else lacks(store, "Collectable")

    @pytest.fixture
    def index(self, store: Store) -> UserIndex:
        return store if isinstance(store, UserIndex) else lacks(store, "UserIndex")

    @pytest.fixture
    def inspectable(self, store: Store) -> Inspectable:
        return store if isinstance(store, Inspectable) else lacks(store, "Inspectable")

    @pytest.fixture
    def refreshable(self, store: Store) -> Refreshable:
        return store if isinstance(store, Refreshable) else lacks(store, "Refreshable")

    @pytest.fixture
    def monitored(self, store: Store) -> Monitored:
        return store if isinstance(store, Monitored) else lacks(store, "Monitored")

    @pytest.fixture
    def closable(self, store: Store) -> Closable:
        return store if isinstance(store, Closable) else lacks(store, "Closable")

    @pytest.fixture
    def cache(self, store: Store) -> CacheStore:
        return store if isinstance(store, CacheStore) else lacks(store, "CacheStore")

    def test_garbage_is_collected(
        self, store: Store, collectable: Collectable, storage_id: str
    ) -> None:
        live, ended = storage_id[::-1], secrets.token_hex(32)
        record = self.make_record("a")
        store.add(live, record)
        store.add(ended, self.make_record("b"))
        store.end(ended, self.tomorrow)
        store.add(storage_id, self.make_record("c", expires_in=-HOUR))
        cleared = collectable.clear_expired()
        assert cleared.seen >= 1
        assert cleared.purged + cleared.deleted >= 1
        assert collectable.clear_expired().seen == 0
        assert_holds(store, live, record)
        assert_ended(store, ended)

    def test_garbage_is_only_counted(
        self, store: Store, collectable: Collectable, storage_id: str
    ) -> None:
        store.add(storage_id, self.make_record("a", expires_in=-HOUR))
        counted = collectable.clear_expired(GCOptions(dry_run=True))
        assert counted.seen >= 1
        assert counted.purged == counted.deleted == 0
        assert collectable.clear_expired().seen >= counted.seen

    def test_the_sessions_of_a_user_are_found(self, store: Store, index: UserIndex) -> None:
        user, old, new, over = (secrets.token_hex(8) for _ in range(4))
        now = int(self.clock.now())
        store.add(new, self.make_record("a", user=user)._replace(created_at=now - 10))
        store.add(old, self.make_record("b", user=user)._replace(created_at=now - 20))
        store.add(over, self.make_record("c", user=user, expires_in=-HOUR))
        store.add(secrets.token_hex(8), self.make_record("d", user=f"{user}0"))
        found = index.for_user(user)
        assert [session.storage_id for session in found] == [old, new]
        assert [session.created_at for session in found] == [now - 20, now - 10]
        assert all(abs(session.updated_at - now) <= HOUR for session in found)
        assert all(session.expires_at > now for session in found)

    def test_the_sessions_of_a_user_are_ended(self, store: Store, index: UserIndex) -> None:
        user, here, elsewhere = (secrets.token_hex(8) for _ in range(3))
        for storage_id in (here, elsewhere):
            store.add(storage_id, self.make_record("a", user=user))
        assert end_for_user(index, user, keep=here) == 1
        assert [session.storage_id for session in index.for_user(user)] == [here]
        assert_ended(store, elsewhere)

    def test_who_logs_out_is_found_no_more(
        self, store: Store, index: UserIndex, storage_id: str
    ) -> None:
        record = self.make_record("a", user=storage_id[:8])
        token = store.add(storage_id, record)
        assert index.for_user(storage_id[:8])
        store.replace(storage_id, with_word(record, "b"), token)
        assert index.for_user(storage_id[:8]) == []

    def test_people_see_where_a_session_lives(
        self, store: Store, inspectable: Inspectable, storage_id: str
    ) -> None:
        record = self.make_record("a")
        assert {one.condition for one in inspectable.inspect(storage_id)} == {"absent"}
        store.add(storage_id, record)
        copies = inspectable.inspect(storage_id)
        assert {one.version for one in copies if one.condition == "live"} == {record.version}
        assert all(one.store and one.place for one in copies)
        store.end(storage_id, self.tomorrow)
        conditions = {one.condition for one in inspectable.inspect(storage_id)}
        assert "ended" in conditions
        assert "live" not in conditions

    def test_a_refresh_finds_at_least_what_get_finds(
        self, store: Store, refreshable: Refreshable, storage_id: str
    ) -> None:
        assert refreshable.refresh(storage_id, 1) is None
        record = self.make_record("a", generation=3)
        store.add(storage_id, record)
        for at_least in (1, 3, 4):
            found = refreshable.refresh(storage_id, at_least)
            assert found is not None
            assert_same(found.record, record)

    def test_it_tells_how_it_does(self, monitored: Monitored) -> None:
        status = monitored.status()
        assert status
        assert all(server["store"] for server in status)

    def test_it_may_be_used_after_closing(
        self, store: Store, closable: Closable, storage_id: str
    ) -> None:
        record = self.make_record("a")
        store.add(storage_id, record)
        closable.close()
        assert_holds(store, storage_id, record)

    def test_its_parts_begin_with_itself(self, store: Store) -> None:
        assert next(parts_of(store)) is store

    def test_a_cache_keeps_what_it_is_told_of_the_durable_store(
        self, store: Store, cache: CacheStore, storage_id: str
    ) -> None:
        copy = self.make_record("a")._replace(source_rev="1-abc", validated_at=1000, unsynced=True)
        cache.add(storage_id, copy)
        kept = stored(cache, storage_id).record
        assert (kept.source_rev, kept.validated_at, kept.unsynced) == ("1-abc", 1000, True)
        cache.put_tombstone(storage_id, Record.tombstone(self.tomorrow)._replace(unsynced=True))
        assert assert_ended(cache, storage_id).unsynced

    def test_a_cache_forgets_what_it_is_told_to(
        self, store: Store, cache: CacheStore, storage_id: str
    ) -> None:
        record = self.make_record("a")
        outdated = cache.add(storage_id, record)
        later = with_word(record, "b")
        token = cache.replace(storage_id, later, outdated)
        found = conflict_of(lambda: cache.invalidate(storage_id, outdated))
        assert found is not None
        assert_same(found.record, later)
        cache.invalidate(storage_id, token)
        assert cache.get(storage_id) is None
