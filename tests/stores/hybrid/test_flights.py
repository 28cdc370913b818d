"""
How concurrent reads of one session share what they read.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest

from django_distsession.exceptions import StoreMisconfigured, StoreUnavailable
from django_distsession.stores.hybrid.flights import Flights, _Flight
from tests.stores.hybrid.conftest import Process, Tiers, contents, create, loaded, storage_id
from tests.stores.hybrid.fakes import Killed

MANY = 8
SOON = 30


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


def wait_until_waiting(flights: Flights[str], count: int) -> None:
    """
    Return when so many threads wait for a read of "key" that is yet to begin.
    """
    deadline = time.monotonic() + SOON
    while _waiting(flights) < count:
        assert time.monotonic() < deadline, "nobody waits"
        os.sched_yield()


def _waiting(flights: Flights[str]) -> int:
    running = flights._running.get("key")
    following = running and running.next
    return 0 if following is None else 1 + len(_waiters(following.landed))


def _waiters(event: threading.Event) -> list[object]:
    return list(event._cond._waiters)  # type: ignore[attr-defined]


def started(
    pool: ThreadPoolExecutor, flights: Flights[str], count: int, later: Callable[[], str]
) -> list[Future[str]]:
    asked = [
        pool.submit(flights.share, "key", partial(fails, AssertionError()), later)
        for _ in range(count)
    ]
    wait_until_waiting(flights, count)
    return asked


def test_who_asks_during_a_read_shares_the_next_with_all_who_wait() -> None:
    flights: Flights[str] = Flights()
    gate, reads = Gate(lambda: "first"), []

    def later() -> str:
        reads.append(1)
        return "later"

    with ThreadPoolExecutor(MANY + 1) as pool:
        first = pool.submit(flights.share, "key", gate, later)
        assert gate.began.wait(SOON)
        others = started(pool, flights, MANY, later)
        gate.may_end.set()
        assert first.result(SOON) == "first"
        assert [other.result(SOON) for other in others] == ["later"] * MANY
    assert len(reads) == 1
    assert not flights._running


def test_reads_of_different_sessions_do_not_wait_for_each_other() -> None:
    flights: Flights[str] = Flights()
    gate = Gate(lambda: "one")
    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(flights.share, "key", gate, gate)
        assert gate.began.wait(SOON)
        assert flights.share("another", lambda: "two", lambda: "waited") == "two"
        gate.may_end.set()
        assert one.result(SOON) == "one"


def test_an_outage_is_shared_and_says_the_same_to_all() -> None:
    flights: Flights[str] = Flights()
    gate = Gate(lambda: "first")
    reads = []

    def later() -> str:
        reads.append(1)
        return fails(StoreMisconfigured("the password"))

    with ThreadPoolExecutor(MANY + 1) as pool:
        pool.submit(flights.share, "key", gate, later)
        assert gate.began.wait(SOON)
        others = started(pool, flights, MANY, later)
        gate.may_end.set()
        for other in others:
            with pytest.raises(StoreMisconfigured, match="the password"):
                other.result(SOON)
    assert len(reads) == 1


def test_a_reader_that_is_killed_takes_nobody_with_it() -> None:
    flights: Flights[str] = Flights()
    gate = Gate(lambda: fails(Killed()))
    ends = iter([lambda: fails(Killed()), lambda: "later"])
    with ThreadPoolExecutor(MANY + 1) as pool:
        first = pool.submit(flights.share, "key", gate, gate)
        assert gate.began.wait(SOON)
        asked = [
            pool.submit(flights.share, "key", lambda: "alone", lambda: next(ends)())
            for _ in range(MANY)
        ]
        wait_until_waiting(flights, MANY)
        gate.may_end.set()
        with pytest.raises(Killed):
            first.result(SOON)
        killed = [one for one in asked if isinstance(one.exception(SOON), Killed)]
        assert len(killed) == 1
        assert {one.result() for one in asked if one not in killed} <= {"alone", "later"}
    assert not flights._running


def test_a_leader_that_is_interrupted_while_it_waits_leaves_no_trace() -> None:
    flights: Flights[str] = Flights()
    running: _Flight[str] = flights._running.setdefault("key", _Flight())

    def interrupted() -> bool:
        raise Killed

    running.landed.wait = interrupted  # type: ignore[method-assign,assignment]
    with pytest.raises(Killed):
        flights.share("key", lambda: "first", lambda: "later")
    assert running.next is None


def test_a_forked_child_does_not_wait_for_its_parents_threads() -> None:
    flights: Flights[str] = Flights()
    flights._running["key"] = _Flight()
    child = os.fork()
    if child == 0:
        os._exit(0 if not flights._running else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert flights._running


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
    flights = process.get_store()._flights  # type: ignore[attr-defined]
    with ThreadPoolExecutor(MANY + 1) as pool:
        first = pool.submit(read)
        assert gate.began.wait(SOON)
        others = [pool.submit(read) for _ in range(MANY)]
        flights._running["key"] = flights._running[storage_id(key)]
        wait_until_waiting(flights, MANY)
        del flights._running["key"]
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
    flights = process.get_store()._flights  # type: ignore[attr-defined]

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
        flights._running["key"] = flights._running[storage_id(key)]
        wait_until_waiting(flights, 1)
        del flights._running["key"]
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
