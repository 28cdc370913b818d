"""
When a server is asked, and by how many.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.health import LONGEST_BACKOFF, Health
from django_distsession.stores.memcached import exchange as exchange_module
from django_distsession.stores.memcached.connection import Connection
from django_distsession.stores.pool import Pool, PoolExhausted
from testproject.servers import MemcachedNode

from .conftest import await_recovery, contents, store_of, stored


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(1.0, 0.5, clock)


ERROR = TimeoutError("timed out")


def test_one_failure_marks_a_server_down(health: Health) -> None:
    assert health.admits()
    assert health.failed(ERROR)
    assert not health.admits()
    assert not health.is_up
    status = health.status()
    assert (status.up, status.last_error) == (False, "TimeoutError: timed out")


def test_one_caller_probes_while_the_others_pass_by(health: Health, clock: Clock) -> None:
    health.failed(ERROR)
    clock.now += 1.26
    assert [health.admits() for _ in range(5)] == [True, False, False, False, False]
    assert health.succeeded()
    assert [health.admits() for _ in range(5)] == [True] * 5
    assert not health.succeeded()


def test_the_pause_grows_with_each_probe_up_to_a_limit(health: Health, clock: Clock) -> None:
    health.failed(ERROR)
    pauses = []
    for _ in range(8):
        start = clock.now
        while not health.admits():
            clock.now += 0.125
        pauses.append(clock.now - start)
        health.failed(ERROR)
    for pause, expected in zip(pauses, (1, 2, 4, 8, 16, 30, 30, 30), strict=True):
        assert 0.75 * expected <= pause <= 1.25 * expected + 0.125
    assert max(pauses) <= 1.25 * LONGEST_BACKOFF + 0.125


def test_one_outage_met_by_many_requests_counts_once(health: Health, clock: Clock) -> None:
    assert [health.failed(ERROR) for _ in range(32)] == [True] + [False] * 31
    clock.now += 1.26
    assert health.admits()


def test_a_prober_that_never_returns_is_replaced(clock: Clock) -> None:
    health = Health(0.01, 0.5, clock)
    health.failed(ERROR)
    clock.now += 0.02
    assert health.admits()
    clock.now += 0.4
    assert not health.admits()
    clock.now += 0.2
    assert health.admits()


def test_a_hung_server_costs_a_process_one_time_out(use: Any, trio: list[MemcachedNode]) -> None:
    sessions = use(trio[:2], RETRY_AFTER=1000)
    keys = [stored(sessions, number=number) for number in range(20)]
    trio[0].pause()
    receive, timeouts = Connection.receive, []

    def counted(connection: Connection) -> Any:
        try:
            return receive(connection)
        except TimeoutError as error:
            timeouts.append(error)
            raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "receive", counted)
        for number, key in enumerate(keys):
            session = sessions(key)
            session["more"] = number
            session.save()
    trio[0].resume()
    assert len(timeouts) == 1


def noting_timeouts(given: list[float]) -> Callable[[Connection, float], None]:
    set_timeout = Connection.set_timeout

    def noting(self: Connection, seconds: float) -> None:
        given.append(seconds)
        set_timeout(self, seconds)

    return noting


def test_two_hung_servers_cost_one_time_out(use: Any, trio: list[MemcachedNode]) -> None:
    sessions = use(trio, REPLICAS=3, RETRY_AFTER=1000)
    key = stored(sessions, a=1)
    trio[0].pause()
    trio[1].pause()
    given: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "set_timeout", noting_timeouts(given))
        assert contents(sessions, key) == {"a": 1}
    for node in trio[:2]:
        node.resume()
    # The second is given what is left, which is next to nothing; the third its own again.
    assert given[0] < 0.1
    assert given[-1] == 1.0


def test_a_server_that_refuses_at_once_leaves_the_others_their_time(
    use: Any, trio: list[MemcachedNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = use(trio[:2], TIMEOUT=20.0)
    key = stored(sessions, a=1)
    given: list[float] = []
    monkeypatch.setattr(Connection, "set_timeout", noting_timeouts(given))
    # It dies between being found alive and being asked.
    monkeypatch.setattr(Connection, "is_fresh", True)
    trio[0].kill()
    assert contents(sessions, key) == {"a": 1}
    assert all(seconds > 10 for seconds in given)


def test_a_server_that_takes_its_time_does_not_leave_the_next_a_time_out_of_its_own(
    use: Any, nodes: list[MemcachedNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = use(nodes[:2], TIMEOUT=1.0)
    key = stored(sessions, a=1)
    given: list[float] = []
    now = 0.0

    def slow(connection: Connection) -> Any:
        nonlocal now
        now += 0.9
        return receive(connection)

    receive = Connection.receive
    monkeypatch.setattr(Connection, "set_timeout", noting_timeouts(given))
    monkeypatch.setattr(Connection, "receive", slow)
    monkeypatch.setattr(exchange_module, "time", SimpleNamespace(monotonic=lambda: now))
    assert contents(sessions, key) == {"a": 1}
    monkeypatch.undo()
    assert given == [pytest.approx(0.1), 1.0]


def test_status_tells_what_a_server_took_and_missed(use: Any, trio: list[MemcachedNode]) -> None:
    sessions = use(trio[:2], RETRY_AFTER=0.001)
    key = stored(sessions, a=1)
    first, second = sessions.status()
    assert (first["server"], second["server"]) == (trio[0].address, trio[1].address)
    for server in (first, second):
        assert (server["up"], server["written"], server["missed"], server["repaired"]) == (
            True,
            1,
            0,
            0,
        )
        assert server["last_error"] is None
        assert server["latency"] > 0
    trio[0].kill()
    session = sessions(key)
    session["b"] = 2
    session.save()
    down, up = sessions.status()
    assert not down["up"]
    assert down["since"] >= first["since"]
    assert down["last_error"]
    assert (down["missed"], up["missed"], up["written"]) == (1, 0, 2)
    trio[0].start()
    await_recovery(sessions, key)
    contents(sessions, key)
    back, _ = sessions.status()
    assert (back["up"], back["repaired"], back["last_error"]) == (True, 1, down["last_error"])


def test_status_is_there_for_async_code_and_other_engines(
    use: Any, trio: list[MemcachedNode]
) -> None:
    from asgiref.sync import async_to_sync

    sessions = use(trio)
    assert async_to_sync(sessions.astatus)() == sessions.status()


def test_a_full_pool_waits(use: Any, nodes: list[MemcachedNode]) -> None:
    sessions = use(nodes[:2], POOL_SIZE=2)
    key = stored(sessions, a=1)
    start = threading.Barrier(16)

    def work(number: int) -> None:
        start.wait()
        for turn in range(5):
            session = sessions(key)
            session[f"{number}.{turn}"] = 1
            session.save()

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(work, number) for number in range(16)]:
            done.result()
    assert len(contents(sessions, key)) == 81


def test_whoever_waits_for_a_server_that_goes_down_goes_on_without(
    use: Any, nodes: list[MemcachedNode]
) -> None:
    sessions = use(nodes[:2], POOL_SIZE=1, RETRY_AFTER=1000)
    key = stored(sessions, a=1)
    node = store_of(sessions).nodes[0]
    held = node.acquire()
    assert held is not None
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(contents, sessions, key)
        node.failed(ERROR)
        assert waiting.result() == {"a": 1}
    node.discard(held)


def test_who_waits_too_long_is_told_what_to_raise(
    use: Any, nodes: list[MemcachedNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = use(nodes[:1], POOL_SIZE=1)
    key = stored(sessions, a=1)

    def exhausted(*args: Any) -> Any:
        raise PoolExhausted

    monkeypatch.setattr(Pool, "_wait", exhausted)
    held = store_of(sessions).nodes[0].acquire()
    with pytest.raises(StoreUnavailable, match="POOL_SIZE"):
        contents(sessions, key)
    assert held is not None
    store_of(sessions).nodes[0].release(held)
    assert contents(sessions, key) == {"a": 1}


def test_32_threads_lose_nothing_while_a_server_bounces(
    use: Any, trio: list[MemcachedNode]
) -> None:
    sessions = use(trio, RETRY_AFTER=0.01)
    keys = [stored(sessions, number=number) for number in range(8)]
    start = threading.Barrier(33)

    def work(number: int) -> None:
        start.wait()
        for turn in range(6):
            session = sessions(keys[number % 8])
            session[f"{number}.{turn}"] = 1
            session.save()

    with ThreadPoolExecutor(32) as pool:
        running = [pool.submit(work, number) for number in range(32)]
        start.wait()
        for _ in range(3):
            trio[0].kill()
            trio[0].start()
        for done in running:
            done.result()
    for number, key in enumerate(keys):
        session = contents(sessions, key)
        assert session.pop("number") == number
        assert len(session) == 4 * 6
