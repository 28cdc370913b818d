"""
Ended sessions: ended beats live, whoever comes later and whatever he has read.
"""

from __future__ import annotations

from functools import partial

from ...stores.contract import Store
from ..records import with_word
from .base import ROUNDING, StoreTests, assert_ended, conflict_of


class Ending(StoreTests):
    """
    `end`, and what follows it.
    """

    def test_an_ended_session_leaves_a_tombstone(self, store: Store, storage_id: str) -> None:
        store.add(storage_id, self.make_record("a", user="7"))
        store.end(storage_id, self.tomorrow)
        assert assert_ended(store, storage_id).retention_deadline >= self.tomorrow - ROUNDING

    def test_it_is_ended_by_its_token(self, store: Store, storage_id: str) -> None:
        store.end(storage_id, self.tomorrow, store.add(storage_id, self.make_record("a")))
        assert_ended(store, storage_id)

    def test_it_is_ended_by_an_outdated_token(self, store: Store, storage_id: str) -> None:
        record = self.make_record("a")
        outdated = store.add(storage_id, record)
        store.replace(storage_id, with_word(record, "b"), outdated)
        store.end(storage_id, self.tomorrow, outdated)
        assert_ended(store, storage_id)

    def test_it_is_not_replaced(self, store: Store, storage_id: str) -> None:
        record = self.make_record("a")
        token = store.add(storage_id, record)
        store.end(storage_id, self.tomorrow)
        found = conflict_of(lambda: store.replace(storage_id, with_word(record, "b"), token))
        assert found is not None
        assert found.record.ended
        assert_ended(store, storage_id)

    def test_it_is_not_added_again(self, store: Store, storage_id: str) -> None:
        record = self.make_record("a")
        store.add(storage_id, record)
        store.end(storage_id, self.tomorrow)
        for again in (record, self.make_record("b", generation=9)):
            found = conflict_of(partial(store.add, storage_id, again))
            assert found is not None
            assert found.record.ended
        assert_ended(store, storage_id)

    def test_it_is_ended_again(self, store: Store, storage_id: str) -> None:
        token = store.add(storage_id, self.make_record("a"))
        store.end(storage_id, self.tomorrow, token)
        store.end(storage_id, self.tomorrow, token)
        store.end(storage_id, self.tomorrow)
        assert assert_ended(store, storage_id).retention_deadline >= self.tomorrow - ROUNDING

    def test_what_is_not_there_is_ended(self, store: Store, storage_id: str) -> None:
        store.end(storage_id, self.tomorrow)
        found = store.get(storage_id)
        assert found is None or found.record.ended

    def test_the_others_go_on(self, store: Store, storage_id: str) -> None:
        other = storage_id[::-1]
        store.add(storage_id, self.make_record("a"))
        store.add(other, self.make_record("b"))
        store.end(storage_id, self.tomorrow)
        found = store.get(other)
        assert found is not None
        assert not found.record.ended
