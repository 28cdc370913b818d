"""
couchdb3's traps, each with what ours does instead. They are numbered as in our notes on couchdb3
3.5.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from couchdb3.sync import Server

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import StoreMisconfigured, StoreUnavailable
from django_distsession.stores.couchdb.client import Client, DatabaseMissing
from django_distsession.stores.couchdb.client.connect import connect
from testproject.servers import CouchDBServer
from tests.conftest import close_connections
from tests.stores.couchdb.conftest import Database, contents, stored
from tests.stores.couchdb.fake import FakeServer, reply

Engine = type[SessionStore]

MISSING = reply(404, {"error": "not_found", "reason": "missing"})

# What a project's own hook returns.
handed_in: list[Server] = []


def hook() -> Server:
    return handed_in[-1]


@pytest.fixture
def hooked(
    faked: Engine, fake: FakeServer, configure: Callable[..., None]
) -> Iterator[Callable[..., Server]]:
    """
    Return a function that makes the engine use a couchdb3 server on httpx, as a project would.
    """
    opened: list[Server] = []

    def hand_in(**options: Any) -> Server:
        server = Server(fake.url if "url" not in options else options.pop("url"), **options)
        opened.append(server)
        handed_in.append(server)
        configure(COUCHDB={"CLIENT": f"{__name__}.hook"})
        return server

    yield hand_in
    for server in opened:
        server.session.close()
        handed_in.remove(server)


@pytest.fixture
def client(database: Database, couchdb: CouchDBServer) -> Iterator[Client]:
    client = Client(connect([couchdb.url], timeout=10, pool_size=2), database.name)
    client.create_database()
    yield client
    client.close()


@pytest.mark.parametrize("what", ["load", "delete"])
def test_1_time_outs_hold_for_get_and_delete(
    hooked: Callable[..., Server], faked: Engine, fake: FakeServer, what: str
) -> None:
    hooked(auth_method="basic", timeout=0.3)
    fake.default = fake.hang
    session = faked("a" * 32)
    request = session.load if what == "load" else lambda: session.delete("a" * 32)
    with pytest.raises(StoreUnavailable, match="ReadTimeout"):
        request()


@pytest.mark.parametrize("status", [401, 403, 409, 500])
def test_2_a_get_hides_no_error(
    hooked: Callable[..., Server], faked: Engine, fake: FakeServer, status: int
) -> None:
    hooked(auth_method="basic")
    fake.default = reply(status, {"error": "e", "reason": "r"})
    with pytest.raises(Exception, match=r".") as caught:
        faked("a" * 32).load()
    assert type(caught.value).__module__.startswith("django_distsession")
    fake.__exit__()
    with pytest.raises(StoreUnavailable, match="ConnectError"):
        faked("a" * 32).load()


@pytest.mark.parametrize(
    "answer",
    [*(reply(status, {}) for status in (302, 429, 501, 502, 503, 504)), reply(200, b"<html>")],
    ids=["302", "429", "501", "502", "503", "504", "no JSON"],
)
def test_3_other_statuses_and_no_json_are_errors_of_ours(
    hooked: Callable[..., Server], faked: Engine, fake: FakeServer, answer: Any
) -> None:
    hooked(auth_method="basic")
    fake.default = answer
    session = faked("a" * 32)
    with pytest.raises(Exception, match=r".") as caught:
        session.load()
    assert type(caught.value).__module__.startswith("django_distsession")
    assert session.session_key == "a" * 32


@pytest.mark.parametrize("doc_id", ["p/q", "p?q", "p#q", "%41", "p q", "é", "../x", "p&q=r"])
def test_4_ids_are_escaped(client: Client, database: Database, doc_id: str) -> None:
    rev = client.put({"_id": doc_id, "mine": doc_id}).rev
    assert client.get(doc_id)["mine"] == doc_id
    [row] = database.http.get("_all_docs").json()["rows"]
    assert (row["id"], row["value"]["rev"]) == (doc_id, rev)


@pytest.mark.parametrize("key", ["text", 'qu"ote', ["a", 1], 1, None, {"a": [True]}])
def test_5_keys_of_views_are_json(client: Client, key: Any) -> None:
    emit = "function (doc) { emit(doc.k, 1); emit('other', 2); }"
    client.put({"_id": "_design/d", "language": "javascript", "views": {"v": {"map": emit}}})
    client.put({"_id": "x", "k": key})
    rows = client.view("d", "v", key=key)
    assert [(row["key"], row["value"]) for row in rows] == [(key, 1)]


def test_6_accepted_is_told_from_created(client: Client, fake: FakeServer) -> None:
    assert client.put({"_id": "x"}).quorum_reached
    fake.default = reply(202, {"ok": True, "rev": "1-a"})
    elsewhere = Client(connect([fake.url], timeout=1, pool_size=1), "db")
    assert not elsewhere.put({"_id": "x"}).quorum_reached
    elsewhere.close()


def test_7_without_credentials_nobody_logs_in(
    hooked: Callable[..., Server], faked: Engine, fake: FakeServer
) -> None:
    hooked(url=fake.url.replace("user:p%40ss@", ""))
    fake.default = MISSING
    assert faked("a" * 32).load() == {}
    assert [request.method for request in fake.requests] == ["GET"]


def test_7_an_expired_cookie_is_renewed(
    hooked: Callable[..., Server], faked: Engine, fake: FakeServer
) -> None:
    hooked(auth_method="cookie", url=fake.url, password="p@ss")
    cookies = [
        reply(200, {"ok": True}, Set_Cookie=f"AuthSession={value}; Path=/") for value in "ab"
    ]
    refused = reply(401, {"error": "unauthorized", "reason": "expired"})
    fake.script = [cookies[0], MISSING, refused, cookies[1], MISSING]
    assert faked("a" * 32).load() == {}
    assert faked("a" * 32).load() == {}
    assert fake.requests[-1].headers["cookie"] == "AuthSession=b"


def test_8_security_is_written_whole(client: Client, database: Database) -> None:
    security = {
        "admins": {"names": ["boss"], "roles": []},
        "members": {"names": ["web"], "roles": []},
    }
    client.put_security(security)
    assert client.security() == security


def test_9_addresses_paths_and_passwords_are_taken_as_they_are(
    hooked: Callable[..., Server], faked: Engine
) -> None:
    with FakeServer(host="::1") as fake:
        fake.default = MISSING
        hooked(url=f"http://[::1]:{fake.port}", auth_method="basic")
        assert faked("a" * 32).load() == {}
        server = connect([f"http://me:a%2Fb@[::1]:{fake.port}/prefix"], timeout=1, pool_size=1)
        client = Client(server, "db")
        with pytest.raises(Exception, match="missing"):
            client.get("x")
        assert fake.requests[-1].target == "/prefix/db/x"
        assert fake.requests[-1].headers["authorization"] == "Basic bWU6YS9i"
        client.close()


@pytest.mark.parametrize("how", ["auth", "header"])
def test_10_the_authentication_of_a_session_handed_in_survives(
    hooked: Callable[..., Server], faked: Engine, fake: FakeServer, how: str
) -> None:
    with httpx.Client(
        auth=("mine", "own") if how == "auth" else None,
        headers={"Authorization": "Bearer mine"} if how == "header" else None,
    ) as session:
        hooked(url=f"http://127.0.0.1:{fake.port}", session=session)
        fake.default = MISSING
        faked("a" * 32).load()
        expected = "Basic bWluZTpvd24=" if how == "auth" else "Bearer mine"
        assert fake.requests[-1].headers["authorization"] == expected


class TestHook:
    """
    `COUCHDB["CLIENT"]`: a ready server of the project's own.
    """

    def test_serves_the_engine(
        self,
        sessions: Engine,
        couchdb: CouchDBServer,
        configure: Callable[..., None],
        hooked: Callable[..., Server],
        fake: FakeServer,
    ) -> None:
        hooked(url=couchdb.url, auth_method="basic")
        key = stored(sessions, a=1)
        assert contents(sessions, key) == {"a": 1}
        session = sessions(key)
        session["b"] = 2
        session.save()
        session.flush()
        assert sessions.clear_expired().seen == 0
        assert fake.requests == []
        # None restores the default.
        configure(COUCHDB={"CLIENT": None})
        fake.default = MISSING
        assert contents(sessions, key) == {}
        assert len(fake.requests) == 1

    def test_its_server_stays_open(
        self, hooked: Callable[..., Server], faked: Engine, fake: FakeServer
    ) -> None:
        server = hooked(auth_method="basic")
        fake.default = MISSING
        faked("a" * 32).load()
        close_connections(faked)
        assert not server.session.is_closed

    def test_its_refusals_are_ours(
        self, hooked: Callable[..., Server], faked: Engine, fake: FakeServer
    ) -> None:
        hooked(auth_method="basic")
        fake.default = reply(403, {"error": "forbidden", "reason": "no"})
        with pytest.raises(StoreMisconfigured, match="a member of the database"):
            faked("a" * 32).load()


def test_a_database_is_not_taken_for_a_document(client: Client, database: Database) -> None:
    database.http.delete("")
    with pytest.raises(DatabaseMissing):
        client.get("x")
    with pytest.raises(DatabaseMissing):
        client.view("d", "v")
