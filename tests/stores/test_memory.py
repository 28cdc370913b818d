"""
The reference store, beyond what its contract asks.
"""

from __future__ import annotations

import threading

import pytest

from django_distsession.stores.contract import Conflict
from django_distsession.stores.garbage import GCOptions, GCResult
from django_distsession.stores.memory import MemoryStore
from django_distsession.stores.record import Record
from django_distsession.testing import make_record
from tests.stores.manual_clock import ManualClock

ID = "a" * 64
NOW = 1_000_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock=clock.clock)


def record(expires_at: int, user: str | None = None) -> Record:
    return make_record("a", user=user)._replace(created_at=NOW, expires_at=expires_at)


def test_a_record_is_garbage_from_the_second_on_in_which_it_expires(
    store: MemoryStore, clock: ManualClock
) -> None:
    store.add(ID, record(NOW + 10))
    clock.now = NOW + 9.9
    assert store.clear_expired().purged == 0
    clock.now = NOW + 10
    assert store.clear_expired().purged == 1
    assert store.get(ID) is None


def test_what_copies_may_outlive_is_no_garbage(store: MemoryStore, clock: ManualClock) -> None:
    store.add(ID, record(NOW + 5).retained_until(NOW + 100))
    clock.now = NOW + 99
    assert store.clear_expired().purged == 0
    clock.now = NOW + 100
    assert store.clear_expired().purged == 1


def test_a_tombstone_outlives_what_it_ended(store: MemoryStore, clock: ManualClock) -> None:
    store.add(ID, record(NOW + 5).retained_until(NOW + 100))
    store.end(ID, NOW + 10)
    # Nor does a second end make it shorter.
    store.end(ID, NOW + 20)
    clock.now = NOW + 99
    assert store.clear_expired().purged == 0
    clock.now = NOW + 100
    assert store.clear_expired().purged == 1


def test_the_sessions_of_a_user_end_by_the_clock(store: MemoryStore, clock: ManualClock) -> None:
    store.add(ID, record(NOW + 10, user="7"))
    [session] = store.for_user("7")
    assert session == (ID, NOW, NOW, NOW + 10)
    clock.now = NOW + 10
    assert store.for_user("7") == []


def test_a_sweep_stops_at_its_limit_and_shows_its_progress(store: MemoryStore) -> None:
    for number in range(5):
        store.add(f"{number:08}", record(NOW - 1))
    shown: list[GCResult] = []
    store.clear_expired(GCOptions(limit=2, progress=shown.append))
    assert shown == [GCResult(seen=2, purged=2, total=2)]
    assert store.status() == [{"store": "memory", "up": True, "records": 3}]


def test_a_token_of_what_is_forgotten_fits_nothing(store: MemoryStore) -> None:
    tokens = [store.add(ID, record(NOW + 10))]
    store.forget()
    assert store.get(ID) is None
    with pytest.raises(Conflict) as caught:
        store.replace(ID, record(NOW + 10), tokens[0])
    assert caught.value.current is None
    store.add(ID, record(NOW + 10))
    with pytest.raises(Conflict):
        store.replace(ID, record(NOW + 10), tokens[0])


def test_a_forked_child_waits_for_no_thread_of_its_parent(store: MemoryStore) -> None:
    store._lock.acquire()
    store.reset_after_fork()
    added = threading.Thread(target=store.add, args=(ID, record(NOW + 10)), daemon=True)
    added.start()
    added.join(10)
    assert store.get(ID) is not None
