"""
Several at once: nothing that was stored gets lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from ...clock import SYSTEM_CLOCK
from ...exceptions import StoreError, StoreUnavailable
from ...stores.contract import Conflict, Store, Versioned
from ...stores.record import Record
from ..records import entries, with_word
from .base import PATIENCE, StoreTests, assert_ended, patiently, stored

THREADS = 6
ROUNDS = 4


def at_once(calls: Sequence[Callable[[], object]]) -> list[StoreError | None]:
    """
    Make all calls at the same time. Return what each raised.
    """
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> StoreError | None:
        start.wait()
        try:
            call()
        except StoreError as error:
            return error
        return None

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def tries() -> Iterator[None]:
    """
    Yield until somebody has had his chance.
    """
    deadline = SYSTEM_CLOCK.monotonic() + PATIENCE
    while SYSTEM_CLOCK.monotonic() < deadline:
        yield
    pytest.fail(f"There was no getting through within {PATIENCE:.0f} seconds.")


def after_adding(word: str, store: Store, storage_id: str, found: Versioned) -> Versioned:
    """
    Try to add a word to a record that was read. Return what is stored then.
    """
    try:
        store.replace(storage_id, with_word(found.record, word), found.token)
    except Conflict as conflict:
        current = conflict.current
    except StoreUnavailable:
        # So much for a store's patience with a crowd. It is safe to try again.
        current = found
    else:
        current = patiently(lambda: store.get(storage_id))
    assert current is not None
    return current


class Races(StoreTests):
    """
    Compare-and-swap, by threads.
    """

    def test_one_adds(self, store: Store, storage_id: str) -> None:
        records = [self.make_record(f"{number}") for number in range(THREADS)]
        raised = at_once([partial(store.add, storage_id, record) for record in records])
        self._check(store, storage_id, records, raised)

    def test_one_replaces(self, store: Store, storage_id: str) -> None:
        first = self.make_record("first")
        token = store.add(storage_id, first)
        records = [with_word(first, f"{number}") for number in range(THREADS)]
        raised = at_once([partial(store.replace, storage_id, record, token) for record in records])
        self._check(store, storage_id, records, raised)

    def _check(
        self,
        store: Store,
        storage_id: str,
        records: Sequence[Record],
        raised: Sequence[StoreError | None],
    ) -> None:
        """
        Check that one won, and that all others were told what is stored.
        """
        won = [record for record, error in zip(records, raised, strict=True) if error is None]
        conflicts = [error.current for error in raised if isinstance(error, Conflict)]
        assert len(won) + len(conflicts) == len(records), raised
        assert len(won) == 1 or (len(won) == 0 and not self.has_one_copy), "one has to win"
        now = entries(stored(store, storage_id).record)
        for record in won:
            assert entries(record) <= now
        for found in conflicts:
            assert found is not None
            assert entries(found.record) <= now
            assert not self.has_one_copy or found.record.version == won[0].version

    def test_no_change_is_lost(self, store: Store, storage_id: str) -> None:
        store.add(storage_id, self.make_record())

        def change(thread: int) -> None:
            found = patiently(lambda: stored(store, storage_id))
            for number in range(ROUNDS):
                word = f"{thread}-{number}"
                for _ in tries():
                    if word in entries(found.record):
                        break
                    found = after_adding(word, store, storage_id, found)

        raised = at_once([partial(change, number) for number in range(THREADS)])
        assert raised == [None] * THREADS
        expected = {f"{thread}-{number}" for thread in range(THREADS) for number in range(ROUNDS)}
        assert entries(stored(store, storage_id).record) == expected

    def test_whoever_ends_it_wins(self, store: Store, storage_id: str) -> None:
        store.add(storage_id, self.make_record())

        def change() -> None:
            # Until there is nothing to be changed any more.
            found = patiently(lambda: stored(store, storage_id))
            for _ in tries():
                if found.record.ended:
                    break
                found = after_adding("x", store, storage_id, found)

        def end() -> None:
            patiently(lambda: store.end(storage_id, self.tomorrow))

        assert at_once([change, change, end]) == [None] * 3
        assert_ended(store, storage_id)
