"""
Several nodes of one cluster.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import StoreUnavailable
from tests.conftest import engine_class
from tests.stores.couchdb.fake import FakeServer, reply, reset

Engine = type[SessionStore]

MISSING = reply(404, {"error": "not_found", "reason": "missing"})
KEY = "a" * 32


def load(sessions: Engine) -> dict[str, Any]:
    return sessions(KEY).load()


class TestNodes:
    @pytest.fixture
    def other(self) -> Iterator[FakeServer]:
        with FakeServer() as server:
            yield server

    @pytest.fixture
    def cluster(
        self,
        faked: Engine,
        fake: FakeServer,
        other: FakeServer,
        configure: Callable[..., None],
    ) -> Engine:
        configure(COUCHDB={"URL": [fake.url, other.url], "RETRY_AFTER": 60.0})
        fake.default = other.default = MISSING
        return faked

    def test_a_session_goes_through_one_node_and_sessions_through_all(
        self, cluster: Engine, fake: FakeServer, other: FakeServer
    ) -> None:
        for number in range(20):
            for _ in range(2):
                cluster(f"{number:032}").load()
        assert len(fake.requests) + len(other.requests) == 40
        assert fake.requests
        assert other.requests
        paths = [{one.target for one in node.requests} for node in (fake, other)]
        assert paths[0].isdisjoint(paths[1])

    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("how", ["hang", "reset", "refuse", "503"])
    def test_a_dead_one_is_skipped(
        self, cluster: Engine, fake: FakeServer, other: FakeServer, how: str
    ) -> None:
        if how == "refuse":
            fake.__exit__()
        fake.default = {"hang": fake.hang, "reset": reset, "503": reply(503, {})}.get(how, reset)
        for number in range(20):
            assert cluster(f"{number:032}").load() == {}
        assert len(other.requests) == 20
        if how == "hang":
            assert len(fake.requests) == 1

    def test_all_dead_is_an_outage_and_they_are_found_again(
        self, cluster: Engine, fake: FakeServer, other: FakeServer
    ) -> None:
        fake.default = other.default = reset
        with pytest.raises(StoreUnavailable):
            load(cluster)
        fake.default = MISSING
        assert load(cluster) == {}

    def test_each_has_its_own_address_and_password(
        self, faked: Engine, fake: FakeServer, configure: Callable[..., None]
    ) -> None:
        configure(COUCHDB={"URL": f"http://us%3Aer:p%2Fw@127.0.0.1:{fake.port}/couch/"})
        fake.default = MISSING
        load(faked)
        assert fake.requests[0].target.startswith("/couch/t")
        assert fake.requests[0].headers["authorization"] == "Basic dXM6ZXI6cC93"


def test_status_tells_which_nodes_answer(settings: Any, distsession: dict[str, Any]) -> None:
    url = distsession["COUCHDB"]["URL"]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        distsession["COUCHDB"]["URL"] = [dead, url]
        settings.DISTSESSION = distsession
        sessions = engine_class(settings, "couchdb")
        for _ in range(24):
            sessions().create()
        down, up = sessions.status()
    assert (down["server"], down["up"]) == (dead, False)
    assert "ConnectionRefusedError" in down["last_error"]
    assert up["up"]
    assert "@" not in up["server"]
