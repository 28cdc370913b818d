"""
When a server is asked, and by how many.
"""

from __future__ import annotations

import base64
import random
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from django_distsession.clock import SYSTEM_CLOCK
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.deadline import Deadline
from django_distsession.stores.memcached.connection import Connection
from django_distsession.stores.memcached.exchange import Exchange
from django_distsession.stores.memcached.protocol import Reply
from django_distsession.stores.memcached.replica_set import ReplicaSet
from testproject.servers import MemcachedNode
from testproject.servers.process import LOOPBACK

from .conftest import SOON, await_recovery, contents, out_of_reach, store_of, stored


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


def noting_deadlines(given: list[float]) -> Callable[[Connection, float], None]:
    limit = Connection.limit

    def noting(self: Connection, until: float) -> None:
        given.append(until - SYSTEM_CLOCK.monotonic())
        limit(self, until)

    return noting


def test_two_hung_servers_cost_one_time_out(use: Any, trio: list[MemcachedNode]) -> None:
    sessions = use(trio, REPLICAS=3, RETRY_AFTER=1000)
    key = stored(sessions, a=1)
    trio[0].pause()
    trio[1].pause()
    given: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "limit", noting_deadlines(given))
        assert contents(sessions, key) == {"a": 1}
    for node in trio[:2]:
        node.resume()
    # The second and the third are given what is left, which is next to nothing.
    assert [left < 0.1 for left in given] == [True, True]


def test_a_server_that_refuses_at_once_leaves_the_others_their_time(
    use: Any, trio: list[MemcachedNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = use(trio[:2], TIMEOUT=20.0)
    key = stored(sessions, a=1)
    given: list[float] = []
    monkeypatch.setattr(Connection, "limit", noting_deadlines(given))
    # It dies between being found alive and being asked.
    for node in store_of(sessions).nodes:
        (connection,) = node.pool._idle
        connection.has_input = bool
    trio[0].kill()
    assert contents(sessions, key) == {"a": 1}
    assert all(seconds > 5 for seconds in given)


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
    held = node.acquire(Deadline(SOON))
    assert held is not None
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(contents, sessions, key)
        while not node.pool._waiting:
            pass
        with out_of_reach(node):
            assert waiting.result() == {"a": 1}
    node.pool.discard(held)


def test_who_waits_too_long_is_told_what_to_raise(use: Any, nodes: list[MemcachedNode]) -> None:
    sessions = use(nodes[:1], POOL_SIZE=1, TIMEOUT=0.2)
    key = stored(sessions, a=1)
    node = store_of(sessions).nodes[0]
    held = node.acquire(Deadline(SOON))
    with pytest.raises(StoreUnavailable, match="POOL_SIZE"):
        contents(sessions, key)
    assert held is not None
    # A full pool is no failure of the server.
    assert node.is_up()
    node.pool.release(held)
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


def nobody_is_to_blame(sessions: Any) -> bool:
    return all(server["up"] for server in sessions.status())


def in_time(replica_set: ReplicaSet, seconds: float) -> list[Reply | None]:
    """
    Ask its servers what they hold, and give them so long.
    """
    until = SYSTEM_CLOCK.monotonic() + seconds
    return replica_set.asking(replica_set.replicas, until).perform()


def test_a_server_that_is_asked_when_the_time_is_over_is_not_to_blame(
    use: Any, nodes: list[MemcachedNode]
) -> None:
    sessions = use(nodes[:1])
    key = stored(sessions, a=1)
    replica_set = store_of(sessions)._replica_set(sessions.storage_id(key))
    in_time(replica_set, -1.0)
    assert nobody_is_to_blame(sessions)
    assert contents(sessions, key) == {"a": 1}


def test_a_server_that_had_no_time_to_take_a_connection_is_not_to_blame(use: Any) -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:
        sessions = use([f"{LOOPBACK}:{silent.getsockname()[1]}"])
        replica_set = store_of(sessions)._replica_set("x" * 64)
        assert in_time(replica_set, 0.02) == [None]
        assert nobody_is_to_blame(sessions)
        # And if it had some, it is.
        assert in_time(replica_set, 0.5) == [None]
        assert not nobody_is_to_blame(sessions)
        sessions.get_store().close()


def test_a_server_that_does_not_take_a_large_session_does_not_hold_up_the_next(
    use: Any, trio: list[MemcachedNode]
) -> None:
    sessions = use(trio[:2], TIMEOUT=1.6, RETRY_AFTER=1000)
    key = stored(sessions, a=1)
    first, second = store_of(sessions).nodes
    for node in (first, second):
        (connection,) = node.pool._idle
        connection.sock.raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    session = sessions(key)
    session["large"] = base64.b64encode(random.Random(0).randbytes(700_000)).decode()
    trio[0].pause()
    session.save()
    assert [first.is_up(), second.is_up()] == [False, True]
    trio[0].resume()
    assert contents(sessions, key).keys() == {"a", "large"}


def test_what_a_save_does_after_a_conflict_shares_its_deadline(
    use: Any, nodes: list[MemcachedNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = use(nodes[:1])
    key = stored(sessions, a=1)
    session = sessions(key)
    session["b"] = 2
    other = sessions(key)
    other["c"] = 3
    other.save()
    deadlines: list[float] = []
    perform = Exchange.perform

    def noting(exchange: Exchange) -> list[Reply | None]:
        deadlines.append(exchange.until)
        return perform(exchange)

    monkeypatch.setattr(Exchange, "perform", noting)
    session.save()
    write, read, _ = deadlines
    assert read == write
    assert contents(sessions, key) == {"a": 1, "b": 2, "c": 3}
