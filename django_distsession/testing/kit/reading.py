"""
One who reads and writes: what comes back, and which token is good for what.
"""

from __future__ import annotations

import secrets

import pytest

from ...exceptions import RecordTooLarge
from ...stamps import LARGEST, Stamp
from ...stores.contract import Store
from ..records import with_word
from .base import StoreTests, assert_fits, assert_holds, assert_same, conflict_of, stored

PAYLOADS = {
    "nothing": b"",
    "every byte": bytes(range(256)),
    "NUL": b"\0" * 9,
    "no UTF-8": b"\xff\xfe\xc3(",
    "line ends": b"\r\n\r\nEN\r\nHD\r\n",
    "JSON": b'{"_id": "\\u0000", "_rev": null}',
    "quotes": b"'\"; DROP TABLE sessions --",
}
VERSIONS = [Stamp(1, "AAAAAAAA"), Stamp(2, "-_+zZ09a"), Stamp(2**32, "z" * 8)]
# No save's is higher; above it are tombstones.
VERSIONS += [Stamp(LARGEST - 1, "________")]


class ReadingAndWriting(StoreTests):
    """
    `get`, `add` and `replace`, one after the other.
    """

    def test_what_nobody_stored_is_not_there(self, store: Store, storage_id: str) -> None:
        assert store.get(storage_id) is None

    def test_what_was_added_is_there(self, store: Store, storage_id: str) -> None:
        record = self.make_record("a")
        store.add(storage_id, record)
        assert_holds(store, storage_id, record)

    def test_what_was_replaced_is_there(self, store: Store, storage_id: str) -> None:
        first = self.make_record("a")
        second = with_word(first, "b")
        store.replace(storage_id, second, store.add(storage_id, first))
        assert_holds(store, storage_id, second)

    def test_each_write_returns_the_token_for_the_next(self, store: Store, storage_id: str) -> None:
        record = self.make_record("a")
        token = store.add(storage_id, record)
        for word in "bcd":
            record = with_word(record, word)
            token = store.replace(storage_id, record, token)
        assert_holds(store, storage_id, record)

    def test_what_was_read_can_be_replaced(self, store: Store, storage_id: str) -> None:
        store.add(storage_id, self.make_record("a"))
        assert_fits(store, storage_id, stored(store, storage_id).token)

    def test_reading_makes_no_token_invalid(self, store: Store, storage_id: str) -> None:
        token = store.add(storage_id, self.make_record("a"))
        store.get(storage_id)
        store.get(storage_id)
        assert_fits(store, storage_id, token)

    def test_what_is_there_is_not_added(self, store: Store, storage_id: str) -> None:
        record = self.make_record("a")
        store.add(storage_id, record)
        found = conflict_of(lambda: store.add(storage_id, self.make_record("b")))
        assert_holds(store, storage_id, record)
        assert found is not None
        assert_same(found.record, record)
        assert_fits(store, storage_id, found.token)

    def test_the_same_words_by_another_version_are_not_added(
        self, store: Store, storage_id: str
    ) -> None:
        record = self.make_record("a")
        store.add(storage_id, record)
        found = conflict_of(lambda: store.add(storage_id, self.make_record("a")))
        assert found is not None
        assert_same(found.record, record)

    def test_what_moved_on_is_not_replaced(self, store: Store, storage_id: str) -> None:
        first = self.make_record("a")
        second = with_word(first, "b")
        outdated = store.add(storage_id, first)
        store.replace(storage_id, second, outdated)
        found = conflict_of(lambda: store.replace(storage_id, with_word(first, "c"), outdated))
        assert_holds(store, storage_id, second)
        assert found is not None
        assert_same(found.record, second)
        assert_fits(store, storage_id, found.token)

    def test_adding_again_succeeds_again(self, store: Store, storage_id: str) -> None:
        # As somebody does who had no reply the first time.
        record = self.make_record("a")
        store.add(storage_id, record)
        token = store.add(storage_id, record)
        assert_holds(store, storage_id, record)
        assert_fits(store, storage_id, token)

    def test_replacing_again_succeeds_again(self, store: Store, storage_id: str) -> None:
        first = self.make_record("a")
        second = with_word(first, "b")
        before = store.add(storage_id, first)
        store.replace(storage_id, second, before)
        token = store.replace(storage_id, second, before)
        assert_holds(store, storage_id, second)
        assert_fits(store, storage_id, token)

    def test_replacing_again_undoes_nothing(self, store: Store, storage_id: str) -> None:
        first = self.make_record("a")
        second = with_word(first, "b")
        third = with_word(second, "c")
        before = store.add(storage_id, first)
        store.replace(storage_id, third, store.replace(storage_id, second, before))
        found = conflict_of(lambda: store.replace(storage_id, second, before))
        assert_holds(store, storage_id, third)
        assert found is not None
        assert_same(found.record, third)

    @pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
    def test_a_payload_is_any_bytes(self, store: Store, storage_id: str, payload: bytes) -> None:
        record = self.make_record()._replace(payload=payload)
        store.add(storage_id, record)
        assert_holds(store, storage_id, record)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_version_is_any_stamp(self, store: Store, storage_id: str, version: Stamp) -> None:
        record = self.make_record("a")._replace(version=version)
        store.add(storage_id, record)
        assert_holds(store, storage_id, record)

    def test_a_storage_id_is_8_to_128_letters_and_digits(self, store: Store) -> None:
        # Each begins like the next one; the last ones look like numbers.
        long = secrets.token_hex(64)
        digits = str(secrets.randbelow(10**20)).zfill(20)
        ids = [long[:8], long[:64], long, f"0{digits}", digits, f"{digits}e5"]
        records = {storage_id: self.make_record(storage_id) for storage_id in reversed(ids)}
        for storage_id, record in records.items():
            assert store.get(storage_id) is None
            store.add(storage_id, record)
        for storage_id, record in records.items():
            assert_holds(store, storage_id, record)

    def test_a_large_record_is_stored(self, store: Store, storage_id: str) -> None:
        record = self.make_record()._replace(payload=secrets.token_bytes(self.large))
        store.add(storage_id, record)
        assert_holds(store, storage_id, record)

    def test_one_that_is_too_large_leaves_the_old_one(self, store: Store, storage_id: str) -> None:
        if self.too_large is None:
            pytest.skip("The store has no limit: `too_large` is None.")
        old = self.make_record("a")
        token = store.add(storage_id, old)
        large = with_word(old, "b")._replace(payload=secrets.token_bytes(self.too_large))
        with pytest.raises(RecordTooLarge):
            store.replace(storage_id, large, token)
        assert_holds(store, storage_id, old)
        assert_fits(store, storage_id, token)
