from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from django_distsession.stores import pool as pool_module
from django_distsession.stores.deadline import Deadline
from django_distsession.stores.pool import NotWanted, Pool, PoolExhausted

# Longer than anybody waits for a result below; then a test that failed comes to an end.
NEVER = 20.0
SOON = 10.0


class FakeConnection:
    """
    Counts how many of its kind are open, and how many users it has.
    """

    lock: ClassVar = threading.Lock()
    open_now: ClassVar[set[int]] = set()
    most_open: ClassVar[int] = 0

    slot: object = None

    def __init__(self) -> None:
        self.is_fresh = False
        self.users = 0

    def open(self, deadline: Deadline) -> None:
        with self.lock:
            self.is_fresh = True
            self.open_now.add(id(self))
            type(self).most_open = max(self.most_open, len(self.open_now))

    def close(self) -> None:
        with self.lock:
            self.is_fresh = False
            self.open_now.discard(id(self))

    def __del__(self) -> None:
        self.close()


@pytest.fixture(autouse=True)
def nobody_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "LOOK_AGAIN", NEVER)
    FakeConnection.open_now.clear()
    FakeConnection.most_open = 0


def waiting(pool: Pool[FakeConnection], threads: ThreadPoolExecutor) -> object:
    """
    Return the future of somebody who waits for a slot.
    """
    future = threads.submit(pool.acquire, Deadline(NEVER))
    while not (pool._waiting or future.done()):
        pass
    assert not future.done()
    return future


def test_the_youngest_idle_connection_is_used_again() -> None:
    pool = Pool(FakeConnection, 2)
    one, two = pool.acquire(Deadline(0)), pool.acquire(Deadline(0))
    pool.release(one)
    pool.release(two)
    assert pool.acquire(Deadline(0)) is two
    assert pool.busy == 1


def test_one_that_is_no_longer_fresh_is_closed_and_replaced() -> None:
    pool = Pool(FakeConnection, 1)
    stale = pool.acquire(Deadline(0))
    pool.release(stale)
    stale.is_fresh = False
    fresh = pool.acquire(Deadline(0))
    assert fresh is not stale
    assert fresh.is_fresh
    assert len(FakeConnection.open_now) == 1


@pytest.mark.parametrize("way", ["release", "discard"])
def test_whoever_waits_is_woken(way: str) -> None:
    pool = Pool(FakeConnection, 1)
    held = pool.acquire(Deadline(0))
    with ThreadPoolExecutor(1) as threads:
        future = waiting(pool, threads)
        getattr(pool, way)(held)
        got = future.result(SOON)  # type: ignore[attr-defined]
    assert (got is held) == (way == "release")


def test_a_full_pool_gives_up_after_a_while() -> None:
    pool = Pool(FakeConnection, 1)
    held = pool.acquire(Deadline(0))
    with pytest.raises(PoolExhausted):
        pool.acquire(Deadline(-1))
    with pytest.raises(NotWanted):
        pool.acquire(Deadline(NEVER), lambda: False)
    pool.release(held)
    assert pool.acquire(Deadline(0)) is held


def test_one_that_got_lost_leaves_its_place() -> None:
    pool = Pool(FakeConnection, 1)
    pool.acquire(Deadline(0))
    assert pool.busy == 0
    assert pool.acquire(Deadline(0)).is_fresh


def test_one_that_does_not_open_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: FakeConnection, deadline: Deadline) -> None:
        raise ConnectionRefusedError

    pool = Pool(FakeConnection, 1)
    with monkeypatch.context() as patch:
        patch.setattr(FakeConnection, "open", refuse)
        with pytest.raises(ConnectionRefusedError):
            pool.acquire(Deadline(0))
    assert pool.acquire(Deadline(0)).is_fresh


def test_closing_leaves_those_in_use_alone() -> None:
    pool = Pool(FakeConnection, 2)
    idle, busy = pool.acquire(Deadline(0)), pool.acquire(Deadline(0))
    pool.release(idle)
    pool.close()
    assert not idle.is_fresh
    assert busy.is_fresh
    assert pool.busy == 1


def test_many_threads_share_a_few_connections_one_at_a_time() -> None:
    pool = Pool(FakeConnection, 3)

    def work(number: int) -> None:
        for turn in range(50):
            connection = pool.acquire(Deadline(NEVER))
            connection.users += 1
            assert connection.users == 1
            connection.users -= 1
            if turn % 7 == number % 7:
                pool.discard(connection)
            else:
                pool.release(connection)

    with ThreadPoolExecutor(16) as threads:
        for done in [threads.submit(work, number) for number in range(16)]:
            done.result(SOON)
    assert pool.busy == 0
    assert 1 <= FakeConnection.most_open <= 3


def test_a_connection_goes_to_whoever_has_waited_longest() -> None:
    pool = Pool(FakeConnection, 1)
    held = pool.acquire(Deadline(0))
    with ThreadPoolExecutor(1) as threads:
        future = waiting(pool, threads)
        pool.release(held)
        # Not to whoever comes first after it was given back.
        with pytest.raises(PoolExhausted):
            pool.acquire(Deadline(-1))
        assert future.result(SOON) is held  # type: ignore[attr-defined]


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("moment", ["asleep", "called"])
def test_whoever_is_interrupted_while_he_waits_takes_no_place_with_him(
    monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    pool = Pool(FakeConnection, 1)
    held = [pool.acquire(Deadline(0))]

    def interrupted(waiter: pool_module._Waiter[FakeConnection], seconds: float) -> bool:
        monkeypatch.undo()
        if moment == "called":
            pool.release(held.pop())
        raise Interrupted

    monkeypatch.setattr(pool_module._Waiter, "sleep", interrupted)
    with pytest.raises(Interrupted):
        pool.acquire(Deadline(NEVER))
    if moment == "asleep":
        pool.release(held.pop())
    assert not pool._waiting
    assert pool.acquire(Deadline(0)).is_fresh
    assert pool.busy == 0


def test_a_turn_that_is_not_needed_is_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(FakeConnection, 2)
    held = [pool.acquire(Deadline(0)), pool.acquire(Deadline(0))]
    take, looks = pool._take_or_make, []

    def given_back_meanwhile() -> FakeConnection | None:
        looks.append(1)
        if len(looks) == 2:
            # Already counted among those who wait, he is handed one and finds another.
            pool.release(held[0])
            pool._idle.append(held[1])
        return take()

    monkeypatch.setattr(pool, "_take_or_make", given_back_meanwhile)
    assert pool.acquire(Deadline(NEVER)) is held[1]
    assert list(pool._idle) == [held[0]]


def test_a_pool_that_is_forgotten_leaves_nothing_behind() -> None:
    pool = Pool(FakeConnection, 3)
    pool.release(pool.acquire(Deadline(0)))
    gone = weakref.ref(pool)
    del pool
    assert gone() is None
    assert not FakeConnection.open_now
