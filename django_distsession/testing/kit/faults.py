"""
Outages: nobody takes one for "no such session", and a write may be repeated.
"""

from __future__ import annotations

import pytest

from ...exceptions import StoreUnavailable
from ...stores.abilities import Inspectable, Monitored
from ...stores.contract import Store
from ..records import with_word
from .base import Fault, StoreTests, assert_ended, assert_fits, assert_holds, patiently


class Faults(StoreTests):
    """
    They run where the fixtures `outage` and `lost_replies` are overridden.
    """

    def test_out_of_reach_is_said_so(self, store: Store, storage_id: str, outage: Fault) -> None:
        record = self.make_record("a")
        later = with_word(record, "b")
        token = store.add(storage_id, record)
        with outage():
            for call in (
                lambda: store.get(storage_id),
                lambda: store.get(storage_id[::-1]),
                lambda: store.add(storage_id[::-1], self.make_record("c")),
                lambda: store.replace(storage_id, later, token),
                lambda: store.end(storage_id, self.tomorrow, token),
                lambda: store.end(storage_id, self.tomorrow),
            ):
                with pytest.raises(StoreUnavailable):
                    call()
        assert patiently(lambda: store.get(storage_id[::-1])) is None
        assert_holds(store, storage_id, record)

    def test_after_an_outage_it_goes_on(self, store: Store, storage_id: str, outage: Fault) -> None:
        record = self.make_record("a")
        later = with_word(record, "b")
        token = store.add(storage_id, record)
        with outage(), pytest.raises(StoreUnavailable):
            store.replace(storage_id, later, token)
        token = patiently(lambda: store.replace(storage_id, later, token))
        assert_holds(store, storage_id, later)
        assert_fits(store, storage_id, token)

    def test_an_outage_can_be_looked_at(self, store: Store, storage_id: str, outage: Fault) -> None:
        with outage():
            with pytest.raises(StoreUnavailable):
                store.get(storage_id)
            if isinstance(store, Inspectable):
                assert {one.condition for one in store.inspect(storage_id)} == {"unavailable"}
            if isinstance(store, Monitored):
                assert isinstance(store.status(), list)
        patiently(lambda: store.get(storage_id))

    def test_an_add_without_reply_can_be_repeated(
        self, store: Store, storage_id: str, lost_replies: Fault
    ) -> None:
        record = self.make_record("a")
        with lost_replies(), pytest.raises(StoreUnavailable):
            store.add(storage_id, record)
        token = patiently(lambda: store.add(storage_id, record))
        assert_holds(store, storage_id, record)
        assert_fits(store, storage_id, token)

    def test_a_replace_without_reply_can_be_repeated(
        self, store: Store, storage_id: str, lost_replies: Fault
    ) -> None:
        record = self.make_record("a")
        later = with_word(record, "b")
        before = store.add(storage_id, record)
        with lost_replies(), pytest.raises(StoreUnavailable):
            store.replace(storage_id, later, before)
        token = patiently(lambda: store.replace(storage_id, later, before))
        assert_holds(store, storage_id, later)
        assert_fits(store, storage_id, token)

    def test_an_end_without_reply_can_be_repeated(
        self, store: Store, storage_id: str, lost_replies: Fault
    ) -> None:
        token = store.add(storage_id, self.make_record("a"))
        with lost_replies(), pytest.raises(StoreUnavailable):
            store.end(storage_id, self.tomorrow, token)
        patiently(lambda: store.end(storage_id, self.tomorrow, token))
        assert_ended(store, storage_id)
