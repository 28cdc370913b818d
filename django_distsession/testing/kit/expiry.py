"""
How long a record is kept.
"""

from __future__ import annotations

import pytest

from ...stores.contract import Store
from ..records import HOUR
from .base import StoreTests, assert_holds, assert_same, conflict_of, stored

DAY = 24 * HOUR


class Expiry(StoreTests):
    """
    `expires_at` and `retain_until`.
    """

    @pytest.mark.parametrize("seconds", [60, DAY, 31 * DAY, 36500 * DAY])
    def test_a_session_lives_for(self, store: Store, storage_id: str, seconds: int) -> None:
        record = self.make_record("a", expires_in=seconds)
        store.add(storage_id, record)
        assert stored(store, storage_id).record.is_live(self.clock.now())
        assert_holds(store, storage_id, record)

    def test_what_expired_is_not_live(self, store: Store, storage_id: str) -> None:
        store.add(storage_id, self.make_record("a", expires_in=-HOUR))
        found = store.get(storage_id)
        assert found is None or not found.record.is_live(self.clock.now())

    def test_what_expired_makes_room(self, store: Store, storage_id: str) -> None:
        expired = self.make_record("a", expires_in=-HOUR)
        store.add(storage_id, expired)
        record = self.make_record("a", "b", generation=2)
        found = store.get(storage_id)
        if found is None:
            store.add(storage_id, record)
        else:
            assert found.record.version == expired.version
            found = conflict_of(lambda: store.add(storage_id, record))
            assert found is not None
            store.replace(storage_id, record, found.token)
        assert_holds(store, storage_id, record)

    def test_a_session_can_be_made_shorter(self, store: Store, storage_id: str) -> None:
        record = self.make_record("a", expires_in=DAY)
        shorter = self.make_record("a", "b", generation=2)
        shorter = shorter._replace(retain_until=record.expires_at)
        store.replace(storage_id, shorter, store.add(storage_id, record))
        assert_holds(store, storage_id, shorter)

    def test_what_expired_is_held_as_long_as_copies_live(
        self, store: Store, storage_id: str
    ) -> None:
        until = int(self.clock.now()) + HOUR
        expired = self.make_record("a", expires_in=-HOUR)._replace(retain_until=until)
        store.add(storage_id, expired)
        found = stored(store, storage_id)
        assert not found.record.is_live(self.clock.now())
        assert_same(found.record, expired)
        assert found.record.retention_deadline == until
