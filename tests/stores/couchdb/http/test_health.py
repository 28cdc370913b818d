"""
When a node counts as down, who notices that it is back, and how long anybody waits for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import StoreMisconfigured, StoreUnavailable
from django_distsession.stores.couchdb.http.node import Node
from django_distsession.stores.deadline import Deadline
from tests.stores.couchdb.fake import FakeServer, reply, reset

Engine = type[SessionStore]

MISSING = reply(404, {"error": "not_found", "reason": "missing"})
KEY = "a" * 32
# Seconds, for what takes no time at all unless something is wrong.
PATIENCE = 20.0


def node_of(sessions: Engine) -> Node:
    node: Node = sessions.get_store()._client._server.session.nodes[0]  # type: ignore[attr-defined]
    return node


def until(is_so: Callable[[], bool]) -> None:
    deadline = Deadline(PATIENCE)
    while not is_so():
        deadline.require()
        time.sleep(0.005)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "django_distsession.couchdb" and record.levelno >= logging.INFO
    ]


class TestWhatIsNoFailureOfAServer:
    """
    After each of these, the next request is made as ever.
    """

    @pytest.fixture(autouse=True)
    def _still_up(self, faked: Engine, fake: FakeServer) -> Iterator[None]:
        yield
        assert node_of(faked).health.breaker.is_up
        fake.default = MISSING
        assert faked(KEY).load() == {}

    def test_one_that_it_has_with_one_document(self, faked: Engine, fake: FakeServer) -> None:
        fake.default = reply(500, {"error": "badarg", "reason": "why"})
        with pytest.raises(StoreUnavailable, match="badarg: why"):
            faked(KEY).load()

    def test_a_missing_right(self, faked: Engine, fake: FakeServer) -> None:
        fake.default = reply(403, {"error": "forbidden", "reason": "why"})
        for _ in range(2):
            with pytest.raises(StoreMisconfigured, match="a member of the database"):
                faked.for_user(1)

    def test_a_full_pool(
        self, faked: Engine, fake: FakeServer, configure: Callable[..., None]
    ) -> None:
        configure(COUCHDB={"POOL_SIZE": 1, "TIMEOUT": 0.2})
        pool = node_of(faked)._pool
        taken = pool.acquire(Deadline(PATIENCE))
        with pytest.raises(StoreUnavailable, match="Busy"):
            faked(KEY).load()
        pool.release(taken)

    def test_an_index_that_is_catching_up(
        self, faked: Engine, fake: FakeServer, configure: Callable[..., None]
    ) -> None:
        configure(COUCHDB={"INDEX_TIMEOUT": 0.2, "TIMEOUT": 0.1})
        fake.default = fake.hang
        with pytest.raises(StoreUnavailable, match=r"index of users .* INDEX_TIMEOUT"):
            faked.for_user(1)

    def test_a_time_that_others_used_up(self, faked: Engine, fake: FakeServer) -> None:
        fake.default = fake.hang
        breaker = node_of(faked).health.breaker
        client = faked.get_store()._client  # type: ignore[attr-defined]
        with pytest.raises(StoreUnavailable, match="TimeoutError"):
            client.get("x", Deadline(0.01))
        assert breaker.is_up


def test_a_server_has_one_health_whoever_asks(
    faked: Engine, fake: FakeServer, configure: Callable[..., None]
) -> None:
    fake.default = reset
    with FakeServer() as other:
        admins = [url.replace("user:p%40ss", "boss:secret") for url in (fake.url, other.url)]
        configure(COUCHDB={"ADMIN_URL": admins, "RETRY_AFTER": 60.0})
        store: Any = faked.get_store()
        with pytest.raises(StoreUnavailable):
            faked(KEY).load()
        assert [node.health.breaker.is_up for node in store._admin.nodes] == [False, True]
        store._admin.nodes[0].health.succeeded()
        assert not store.is_down()


class TestTheWatcher:
    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("how", ["hang", "reset", "503"])
    def test_notices_without_requests_that_a_node_is_back(
        self, faked: Engine, fake: FakeServer, caplog: pytest.LogCaptureFixture, how: str
    ) -> None:
        fake.default = {"hang": fake.hang, "reset": reset, "503": reply(503, {})}[how]
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                faked(KEY).load()
        breaker = node_of(faked).health.breaker
        assert not breaker.is_up
        [line] = lines(caplog)
        assert f"CouchDB at http://127.0.0.1:{fake.port} does not answer (" in line
        fake.default = MISSING
        until(lambda: breaker.is_up)
        asked = len(fake.requests)
        assert faked(KEY).load() == {}
        assert len(fake.requests) == asked + 1
        until(lambda: len(lines(caplog)) == 2)
        assert lines(caplog)[1].endswith("answers again.")

    @pytest.mark.parametrize("auth", ["basic", "cookie"])
    def test_reads_as_sessions_do(
        self, faked: Engine, fake: FakeServer, configure: Callable[..., None], auth: str
    ) -> None:
        configure(COUCHDB={"AUTH": auth})
        login = reply(200, {"ok": True}, Set_Cookie="AuthSession=one; Path=/")
        fake.script = [login] if auth == "cookie" else []
        fake.default = reset
        with pytest.raises(StoreUnavailable):
            faked(KEY).load()
        until(lambda: bool(fake.probes))
        probe = fake.probes[0]
        database = faked.get_store()._client.name  # type: ignore[attr-defined]
        assert (probe.method, probe.target) == ("GET", f"/{database}/distsession-probe")
        assert probe.headers.get("cookie" if auth == "cookie" else "authorization")

    def test_of_a_parent_does_not_run_in_its_child(self, faked: Engine, fake: FakeServer) -> None:
        fake.default = reset
        with pytest.raises(StoreUnavailable):
            faked(KEY).load()
        health = node_of(faked).health
        assert not health.breaker.is_up
        before = health.breaker
        health.reset_after_fork()
        assert health.breaker.is_up
        assert health.breaker is not before


@pytest.mark.parametrize("is_back", [True, False])
def test_a_node_that_hung_is_asked_once_its_watcher_has_an_answer(
    faked: Engine, fake: FakeServer, monkeypatch: pytest.MonkeyPatch, is_back: bool
) -> None:
    breaker = node_of(faked).health.breaker
    waited: list[Deadline] = []

    def await_answer(deadline: Deadline) -> bool:
        waited.append(deadline)
        return is_back

    monkeypatch.setattr(breaker, "_ensure_watched", lambda: None)
    monkeypatch.setattr(breaker, "await_answer", await_answer)
    breaker.failed(TimeoutError())
    fake.default = MISSING
    if is_back:
        assert faked(KEY).load() == {}
    else:
        with pytest.raises(StoreUnavailable, match="AllNodesDown"):
            faked(KEY).load()
    assert len(waited) == 1
    assert len(fake.requests) == is_back
