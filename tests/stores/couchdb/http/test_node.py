"""
How long requests take at the most, and what is left of a node in a forked child.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.couchdb.http.login import CookieLogin
from django_distsession.stores.couchdb.http.node import Node
from django_distsession.stores.deadline import Deadline
from tests.stores.couchdb.conftest import contents, stored
from tests.stores.couchdb.fake import Answer, FakeServer, Request, reply, reset

Engine = type[SessionStore]

MISSING = reply(404, {"error": "not_found", "reason": "missing"})
KEY = "a" * 32
# Seconds, for what takes no time at all unless something is wrong.
PATIENCE = 20.0


def node_of(sessions: Engine) -> Node:
    node: Node = sessions.get_store()._client._server.session.nodes[0]  # type: ignore[attr-defined]
    return node


def login_of(sessions: Engine) -> CookieLogin:
    login = node_of(sessions).login
    assert login is not None
    return login


def after(seconds: float, answer: Answer) -> Answer:
    """
    An answer that comes late.
    """

    def late(connection: socket.socket, request: Request) -> bool:
        time.sleep(seconds)
        return answer(connection, request)

    return late


class TestOneDeadline:
    """
    Whatever a server does, an operation takes one time-out. Two would be 2 seconds.
    """

    @pytest.fixture
    def timed(self, faked: Engine, configure: Callable[..., None]) -> Iterator[Engine]:
        configure(COUCHDB={"TIMEOUT": 1.0})
        faked.get_store()
        start = time.monotonic()
        yield faked
        assert time.monotonic() - start < 1.7

    def test_a_connection_that_breaks_just_before(self, timed: Engine, fake: FakeServer) -> None:
        fake.script = [after(0.9, reset)]
        fake.default = fake.hang
        with pytest.raises(StoreUnavailable):
            timed(KEY).load()
        assert len(fake.requests) == 2

    def test_branches_that_do_not_come(self, timed: Engine, fake: FakeServer) -> None:
        doc_id = timed.storage_id(KEY)
        document = {"_id": doc_id, "_rev": "2-a", "_conflicts": ["1-a"], "type": "session"}
        fake.script = [after(0.9, reply(200, document))]
        fake.default = fake.hang
        with pytest.raises(StoreUnavailable):
            timed(KEY).load()
        assert len(fake.requests) == 2

    def test_a_save_that_is_read_again(self, timed: Engine, fake: FakeServer) -> None:
        fake.script = [after(0.9, reply(409, {"error": "conflict", "reason": "why"}))]
        fake.default = fake.hang
        with pytest.raises(StoreUnavailable):
            stored(timed)
        assert len(fake.requests) == 2

    def test_several_nodes_that_hang(
        self, timed: Engine, fake: FakeServer, configure: Callable[..., None]
    ) -> None:
        with FakeServer() as other:
            configure(COUCHDB={"URL": [fake.url, other.url]})
            fake.default, other.default = fake.hang, other.hang
            with pytest.raises(StoreUnavailable):
                timed(KEY).load()
            assert len(fake.requests) == len(other.requests) == 1

    def test_many_threads_that_log_in(
        self, timed: Engine, fake: FakeServer, configure: Callable[..., None]
    ) -> None:
        configure(COUCHDB={"AUTH": "cookie"})
        fake.default = fake.hang
        timed.get_store()

        def load(_: int) -> None:
            with pytest.raises(StoreUnavailable):
                timed(KEY).load()

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(load, range(6)))


def test_a_hung_node_leaves_time_for_the_other(
    faked: Engine, fake: FakeServer, configure: Callable[..., None]
) -> None:
    with FakeServer() as other:
        configure(COUCHDB={"URL": [fake.url, other.url], "TIMEOUT": 1.0})
        fake.default, other.default = fake.hang, after(0.2, MISSING)
        for number in range(4):
            assert faked(f"{number:032}").load() == {}
        assert len(other.requests) == 4


def test_a_login_that_was_interrupted_is_not_waited_for_twice(
    faked: Engine, fake: FakeServer, configure: Callable[..., None]
) -> None:
    configure(COUCHDB={"AUTH": "cookie", "TIMEOUT": 0.3})
    fake.script = [reply(200, {"ok": True}, Set_Cookie="AuthSession=one; Path=/")]
    fake.default = MISSING
    login_of(faked)._lock.acquire()
    with pytest.raises(StoreUnavailable, match="Busy"):
        faked(KEY).load()
    assert faked(KEY).load() == {}


@pytest.mark.parametrize(
    "options",
    [{"CONDITIONAL_READS": True}, {"AUTH": "cookie"}, {}],
    ids=["conditional", "cookie", "-"],
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_children_forked_under_load_read(
    sessions: Engine, configure: Callable[..., None], options: dict[str, Any]
) -> None:
    """
    A lock is hardly ever held at the moment of a fork: for that, see the test below.
    """
    configure(COUCHDB=options)
    keys = [stored(sessions, number=number) for number in range(4)]
    stop = threading.Event()

    def read(key: str) -> None:
        while not stop.is_set():
            contents(sessions, key)

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(read, key) for key in keys]
        try:
            children = [fork(lambda: contents(sessions, keys[0]) == {"number": 0}) for _ in "12345"]
            statuses = [wait_for(child) for child in children]
        finally:
            stop.set()
        for one in done:
            one.result()
    assert statuses == [0] * 5


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_no_lock_of_another_thread_is_waited_for_in_a_child(
    sessions: Engine, configure: Callable[..., None]
) -> None:
    configure(COUCHDB={"CONDITIONAL_READS": True, "AUTH": "cookie"})
    key = stored(sessions, a=1)
    store: Any = sessions.get_store()
    login = login_of(sessions)
    login.cookie = None
    with store._conditional.recent._lock, login._lock:
        child = fork(lambda: contents(sessions, key) == {"a": 1})
    assert wait_for(child) == 0


def fork(check: Callable[[], bool]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if check() else 2
        finally:
            os._exit(status)
    return child


def wait_for(child: int) -> int | None:
    """
    Return how a child ended; None if it hangs.
    """
    deadline = Deadline(PATIENCE)
    while deadline.left > 0:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None
