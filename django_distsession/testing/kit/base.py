"""
What the tests are given, and what they share.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import pytest

from ...clock import SYSTEM_CLOCK, Clock
from ...exceptions import StoreUnavailable
from ...stores.contract import Conflict, Store, Token, Versioned
from ...stores.record import Record
from ..records import HOUR, make_record, with_word

T = TypeVar("T")

# Brings a fault about for as long as its context lasts.
Fault = Callable[[], AbstractContextManager[None]]

# Seconds by which a store may round times, or its clock differ.
ROUNDING = 5
# Seconds within which a store is back after an outage.
PATIENCE = 30.0
# Seconds between two tries meanwhile.
PAUSE = 0.01


class StoreTests:
    """
    has_one_copy: whether the store keeps one copy of each session. With several, those who race
        may all lose, each on another server.
    large: the size of a payload, in bytes, that surely fits.
    too_large: one that does not, if there is a limit.
    clock: the one that the store goes by.
    """

    has_one_copy = True
    large = 100_000
    too_large: int | None = None
    clock: Clock = SYSTEM_CLOCK

    @pytest.fixture
    def store(self) -> Store:
        """
        Return the store. All tests may share one: each uses storage ids and users of its own.
        """
        raise NotImplementedError("Override the fixture `store`, so that it returns your store.")

    @pytest.fixture
    def outage(self) -> Fault:
        """
        Return what makes the store unreachable for a while.
        """
        pytest.skip("The fixture `outage` is not overridden.")

    @pytest.fixture
    def lost_replies(self) -> Fault:
        """
        Return what lets requests take place for a while, without a reply.
        """
        pytest.skip("The fixture `lost_replies` is not overridden.")

    @pytest.fixture
    def storage_id(self) -> str:
        """
        Return one that nobody has used.
        """
        return secrets.token_hex(32)

    @property
    def tomorrow(self) -> int:
        """
        Return this time tomorrow, in seconds since the epoch.
        """
        return int(self.clock.now()) + 24 * HOUR

    def make_record(self, *words: str, **options: Any) -> Record:
        """
        Return a record that no other call returns, by the store's clock.
        """
        return make_record(*words, clock=self.clock, **options)


def stored(store: Store, storage_id: str) -> Versioned:
    """
    Return what is stored, which must not be nothing.
    """
    found = store.get(storage_id)
    assert found is not None, "nothing is stored"
    return found


def assert_holds(store: Store, storage_id: str, record: Record) -> None:
    """
    Check that just this record is stored.
    """
    assert_same(stored(store, storage_id).record, record)


def assert_same(one: Record, other: Record) -> None:
    """
    Check that a record came back as it was. `user` need not: only an index of users has it.
    """
    assert one.version == other.version
    assert one.payload == other.payload
    assert one.ended == other.ended
    assert one.created_at == other.created_at
    assert abs(one.expires_at - other.expires_at) <= ROUNDING


def assert_ended(store: Store, storage_id: str) -> Record:
    """
    Check that a tombstone is stored, and return it.
    """
    tombstone = stored(store, storage_id).record
    assert tombstone.ended
    assert tombstone.payload == b""
    assert tombstone.user is None
    return tombstone


def assert_fits(store: Store, storage_id: str, token: Token) -> None:
    """
    Check that a token is one with which what is stored can be replaced.
    """
    # With all that is there: where something else is yet to be merged, it is a merge with that.
    record = with_word(stored(store, storage_id).record, "fits")
    store.replace(storage_id, record, token)
    assert_holds(store, storage_id, record)


def conflict_of(call: Callable[[], object]) -> Versioned | None:
    """
    Return what the `Conflict` carries that the call must raise.
    """
    with pytest.raises(Conflict) as caught:
        call()
    return caught.value.current


def patiently(call: Callable[[], T]) -> T:
    """
    Call until the store can be reached again.
    """
    deadline = SYSTEM_CLOCK.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except StoreUnavailable:
            if SYSTEM_CLOCK.monotonic() > deadline:
                raise
            time.sleep(PAUSE)
