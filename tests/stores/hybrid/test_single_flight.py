"""
How concurrent reads of one session share what they read.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from django_distsession.exceptions import StoreMisconfigured, StoreUnavailable
from django_distsession.stores.deadline import Deadline
from django_distsession.stores.hybrid.single_flight import SingleFlight, _Call
from django_distsession.stores.operations import Operation, arun
from django_distsession.stores.waiting import Wait
from tests.stores.hybrid.conftest import (
    SOON,
    Process,
    Tiers,
    contents,
    create,
    do,
    loaded,
    storage_id,
)
from tests.stores.hybrid.fakes import Killed, call

MANY = 8


class Gate:
    """
    A read that says when it began, and ends when it is let go.
    """

    def __init__(self, end: Callable[[], str]) -> None:
        self.began = threading.Event()
        self.may_end = threading.Event()
        self._end = end

    def __call__(self) -> str:
        self.began.set()
        assert self.may_end.wait(SOON)
        return self._end()


def fails(error: BaseException) -> str:
    raise error


def wait_until_waiting(flights: SingleFlight[Any], count: int, key: str = "key") -> None:
    """
    Return when so many threads wait for a read that is yet to begin.
    """
    deadline = time.monotonic() + SOON
    while _waiting(flights, key) < count:
        assert time.monotonic() < deadline, "nobody waits"
        os.sched_yield()


def _waiting(flights: SingleFlight[Any], key: str) -> int:
    running = flights._calls.get(key)
    following = running and running.following.get(None)
    return 0 if following is None else 1 + len(following._waiting)


def started(
    pool: ThreadPoolExecutor, flights: SingleFlight[str], count: int, later: Callable[[], str]
) -> list[Future[str]]:
    asked = [
        pool.submit(do, flights, partial(fails, AssertionError()), later) for _ in range(count)
    ]
    wait_until_waiting(flights, count)
    return asked


def test_who_asks_during_a_read_shares_the_next_with_all_who_wait() -> None:
    flights: SingleFlight[str] = SingleFlight()
    gate, reads = Gate(lambda: "first"), []

    def later() -> str:
        reads.append(1)
        return "later"

    with ThreadPoolExecutor(MANY + 1) as pool:
        first = pool.submit(do, flights, gate, later)
        assert gate.began.wait(SOON)
        others = started(pool, flights, MANY, later)
        gate.may_end.set()
        assert first.result(SOON) == "first"
        assert [other.result(SOON) for other in others] == ["later"] * MANY
    assert len(reads) == 1
    assert not flights._calls


def test_reads_of_different_sessions_do_not_wait_for_each_other() -> None:
    flights: SingleFlight[str] = SingleFlight()
    gate = Gate(lambda: "one")
    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(do, flights, gate, gate)
        assert gate.began.wait(SOON)
        assert do(flights, lambda: "two", lambda: "waited", "another") == "two"
        gate.may_end.set()
        assert one.result(SOON) == "one"


def test_an_outage_is_shared_and_says_the_same_to_all() -> None:
    flights: SingleFlight[str] = SingleFlight()
    gate = Gate(lambda: "first")
    reads = []

    def later() -> str:
        reads.append(1)
        return fails(StoreMisconfigured("the password"))

    with ThreadPoolExecutor(MANY + 1) as pool:
        pool.submit(do, flights, gate, later)
        assert gate.began.wait(SOON)
        others = started(pool, flights, MANY, later)
        gate.may_end.set()
        for other in others:
            with pytest.raises(StoreMisconfigured, match="the password"):
                other.result(SOON)
    assert len(reads) == 1


def test_a_reader_that_is_killed_takes_nobody_with_it() -> None:
    flights: SingleFlight[str] = SingleFlight()
    gate = Gate(lambda: fails(Killed()))
    ends = iter([lambda: fails(Killed()), lambda: "later"])
    with ThreadPoolExecutor(MANY + 1) as pool:
        first = pool.submit(do, flights, gate, gate)
        assert gate.began.wait(SOON)
        asked = [
            pool.submit(do, flights, lambda: "alone", lambda: next(ends)()) for _ in range(MANY)
        ]
        wait_until_waiting(flights, MANY)
        gate.may_end.set()
        with pytest.raises(Killed):
            first.result(SOON)
        killed = [one for one in asked if isinstance(one.exception(SOON), Killed)]
        assert len(killed) == 1
        assert {one.result() for one in asked if one not in killed} <= {"alone", "later"}
    assert not flights._calls


def reader(flights: SingleFlight[str], result: str) -> Operation[str]:
    read = partial(call, lambda: result)
    return flights.do_gen("key", read, read, Deadline(SOON))


def test_a_reader_that_is_cancelled_while_it_reads_or_waits_takes_nobody_with_it() -> None:
    flights: SingleFlight[str] = SingleFlight()
    leader, second, third = (reader(flights, name) for name in ("leader", "second", "third"))
    next(leader)
    turn, share = next(second), next(third)
    assert isinstance(turn, Wait)
    assert isinstance(share, Wait)
    leader.close()
    assert turn.perform() is True
    second.send(True)
    second.close()
    assert share.perform() is True
    third.send(True)
    with pytest.raises(StopIteration) as done:
        third.send("read")
    assert done.value.value == "read"
    assert not flights._calls


def test_one_that_is_cancelled_before_its_turn_lets_the_others_try_again() -> None:
    flights: SingleFlight[str] = SingleFlight()
    leader, second, third = (reader(flights, name) for name in ("leader", "second", "third"))
    next(leader)
    next(second)
    share = next(third)
    second.close()
    assert share.perform() is True
    # It is the next one, after the leader.
    again = third.send(True)
    assert isinstance(again, Wait)
    assert not again.milestone.is_over
    with pytest.raises(StopIteration):
        leader.send("read")
    assert again.milestone.is_over


def test_coroutines_of_one_loop_wait_for_each_other_without_blocking_it() -> None:
    flights: SingleFlight[str] = SingleFlight()
    reads: list[str] = []

    def read(name: str) -> Operation[str]:
        reads.append(name)
        return call(lambda: name)

    async def all_at_once() -> list[str]:
        deadline = Deadline(SOON)
        return await asyncio.gather(
            *(
                arun(flights.do_gen("key", partial(read, "1st"), partial(read, "2nd"), deadline))
                for _ in range(MANY)
            )
        )

    assert asyncio.run(all_at_once()) == ["1st", *["2nd"] * (MANY - 1)]
    assert reads == ["1st", "2nd"]


def test_a_read_that_got_lost_is_waited_for_no_longer_than_the_deadline() -> None:
    flights: SingleFlight[str] = SingleFlight()
    lost: _Call[str] = _Call()
    flights._calls["key"] = lost
    assert do(flights, lambda: "first", lambda: "later", seconds=0.01) == "later"
    assert not flights._calls
    # Nor is one that follows it.
    flights._calls["key"] = lost = _Call()
    lost.following[None] = _Call()
    assert do(flights, lambda: "first", lambda: "later", seconds=0.01) == "later"
    # By which nobody is called to account who asks afterwards.
    assert do(flights, lambda: "first", lambda: "later", seconds=0.01) == "later"


def test_a_read_that_is_over_and_was_left_behind_is_joined_by_nobody() -> None:
    flights: SingleFlight[str] = SingleFlight()
    left: _Call[str] = _Call()
    left.finish()
    flights._calls["key"] = left
    assert do(flights, lambda: "first", lambda: "later") == "first"
    assert not flights._calls


def test_a_forked_child_does_not_wait_for_its_parents_threads() -> None:
    flights: SingleFlight[str] = SingleFlight()
    flights._calls["key"] = _Call()
    child = os.fork()
    if child == 0:
        os._exit(0 if not flights._calls else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert flights._calls


def held_up_read(tiers: Tiers, process: Process, key: str) -> tuple[Gate, Callable[[], object]]:
    gate = Gate(lambda: "")

    def before(name: str) -> None:
        if name == "get" and not gate.began.is_set():
            gate()

    tiers.durable.before = before
    return gate, partial(contents, process, key)


@pytest.mark.parametrize(("cache_up", "reads"), [(True, 1), (False, 2)])
def test_concurrent_misses_of_one_session_do_not_stampede(cache_up: bool, reads: int) -> None:
    tiers = Tiers()
    process = tiers.process()
    key = create(process, a=1)
    tiers.cache.flush()
    tiers.cache.up = cache_up
    tiers.durable.calls.clear()
    gate, read = held_up_read(tiers, process, key)
    flights = process.get_store()._reads  # type: ignore[attr-defined]
    with ThreadPoolExecutor(MANY + 1) as pool:
        first = pool.submit(read)
        assert gate.began.wait(SOON)
        others = [pool.submit(read) for _ in range(MANY)]
        wait_until_waiting(flights, MANY, storage_id(key))
        gate.may_end.set()
        assert first.result(SOON) == {"a": 1}
        assert [other.result(SOON) for other in others] == [{"a": 1}] * MANY
    assert tiers.durable.calls == ["get"] * reads


def test_who_shares_a_read_sees_what_was_saved_before_it_asked(tiers: Tiers) -> None:
    process, other = tiers.process(), tiers.process()
    key = create(process, a=1)
    late = loaded(other, key)
    tiers.cache.up = False
    store = tiers.durable
    get, gate = store.get, Gate(lambda: "")
    flights = process.get_store()._reads  # type: ignore[attr-defined]

    def slow_reply(storage_id: str) -> object:
        found = get(storage_id)
        if not gate.began.is_set():
            gate()
        return found

    store.get = slow_reply  # type: ignore[method-assign,assignment]
    with ThreadPoolExecutor(2) as pool:
        pool.submit(contents, process, key)
        assert gate.began.wait(SOON)
        late["b"] = 1
        late.save()
        asked = pool.submit(contents, process, key)
        wait_until_waiting(flights, 1, storage_id(key))
        gate.may_end.set()
        assert asked.result(SOON) == {"a": 1, "b": 1}


def test_readers_that_have_a_copy_use_it_when_the_shared_read_fails(tiers: Tiers) -> None:
    process = tiers.process()
    key = create(process, a=1)
    tiers.clock.now += 1000
    tiers.durable.up = False
    assert contents(process, key) == {"a": 1}
    tiers.cache.flush()
    with pytest.raises(StoreUnavailable):
        contents(process, key)
