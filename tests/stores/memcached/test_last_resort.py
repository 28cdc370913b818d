"""
Servers that are believed down, and are asked even so before a session is said to be out of reach
or missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.deadline import Deadline
from django_distsession.stores.memcached.node import Node
from django_distsession.stores.sleeper import Sleeper
from testproject.servers import MemcachedNode

from .conftest import SOON, contents, copies, out_of_reach, store_of, stored


@contextmanager
def unwatched(node: Node) -> Iterator[None]:
    """
    Leave a process in the belief that a server refuses connections, and look no further.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node.breaker, "_ensure_watched", lambda: None)
        node.failed(ConnectionRefusedError())
        yield


def until_down(sessions: Any, key: str) -> None:
    while all(server["up"] for server in sessions.status()):
        contents(sessions, key)


def test_a_server_that_is_back_is_asked_before_the_session_is_out_of_reach(
    use: Any, trio: list[MemcachedNode]
) -> None:
    sessions = use(trio[:2])
    key = stored(sessions, a=1)
    first = store_of(sessions).nodes[0]
    with unwatched(first):
        trio[1].kill()
        assert contents(sessions, key) == {"a": 1}
        session = sessions(key)
        session["b"] = 2
        session.save()
    assert first.is_up()
    assert contents(sessions, key) == {"a": 1, "b": 2}
    session.flush()
    assert contents(sessions, key) == {}


def test_what_is_saved_reaches_a_server_that_is_back_before_anybody_knew(
    use: Any, trio: list[MemcachedNode]
) -> None:
    sessions = use(trio[:2])
    key = stored(sessions, a=1)
    with unwatched(store_of(sessions).nodes[0]):
        session = sessions(key)
        session["b"] = 2
        session.save()
    trio[1].kill()
    assert contents(sessions, key) == {"a": 1, "b": 2}


def test_a_session_that_one_server_lost_is_not_missing_while_the_other_is_silent(
    use: Any, trio: list[MemcachedNode]
) -> None:
    sessions = use(trio[:2])
    key = stored(sessions, a=1)
    first, second = trio[:2]
    with out_of_reach(store_of(sessions).nodes[1]):
        first.kill()
        first.start()
        with pytest.raises(StoreUnavailable, match=f"{second.address} may hold this session"):
            contents(sessions, key)
        session = sessions(key)
        with pytest.raises(StoreUnavailable):
            session.get("a")
        # So the cookie stays.
        assert session.session_key == key
    assert contents(sessions, key) == {"a": 1}


def test_a_session_is_missing_if_all_its_servers_lost_it(
    use: Any, trio: list[MemcachedNode]
) -> None:
    sessions = use(trio[:2])
    key = stored(sessions, a=1)
    # One is back and empty, nobody listens at the other.
    trio[0].kill()
    trio[0].start()
    trio[1].kill()
    session = sessions(key)
    assert session.get("a") is None
    assert session.session_key is None


@pytest.mark.parametrize("fault", ["pause", "kill"])
def test_processes_that_have_nothing_to_do_notice_that_a_server_is_back(
    use: Any, trio: list[MemcachedNode], fault: str
) -> None:
    sessions = use(trio[:2])
    key = stored(sessions, a=1)
    getattr(trio[0], fault)()
    until_down(sessions, key)
    trio[0].resume() if fault == "pause" else trio[0].start()
    deadline = Deadline(SOON)
    while not all(server["up"] for server in sessions.status()):
        deadline.require()
    contents(sessions, key)
    assert set(copies(sessions, key).values()) == {"live"}


def test_who_misses_a_session_waits_for_a_hung_server_once(
    use: Any, trio: list[MemcachedNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = use(trio[:2], TIMEOUT=0.4, RETRY_AFTER=1000)
    key = stored(sessions, a=1)
    trio[0].pause()
    # It returns once the probe has waited for as long as a request would.
    until_down(sessions, key)
    assert not store_of(sessions).nodes[0].breaker.await_answer(Deadline(SOON))

    def waits(sleeper: Sleeper, seconds: float) -> bool:
        raise AssertionError("It is being asked already.")

    monkeypatch.setattr(Sleeper, "sleep", waits)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            contents(sessions, "b" * 32)
    assert contents(sessions, key) == {"a": 1}
    trio[0].resume()
