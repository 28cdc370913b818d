"""
How a database comes to be, with which rights, and what is said where one is missing.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from django_distsession import conf
from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import StoreMisconfigured
from django_distsession.stores.couchdb.designs import bundled_designs
from django_distsession.stores.couchdb.designs.setup import admitting
from testproject.servers import CouchDBServer
from tests.stores.couchdb.conftest import contents, stored
from tests.stores.couchdb.designs.conftest import Database
from tests.stores.couchdb.fake import FakeServer, reply

Engine = type[SessionStore]

MISSING = reply(404, {"error": "not_found", "reason": "missing"})
NO_DATABASE = reply(404, {"error": "not_found", "reason": "Database does not exist."})
NO_ADMIN = reply(401, {"error": "unauthorized", "reason": "You are not a server admin."})
INFO = reply(200, {"db_name": "x"})

# Names that no other user has, and that a URL has to escape.
PASSWORD = "p@ss/word:%41"
QUOTED = "p%40ss%2Fword%3A%2541"


@pytest.fixture
def member(couchdb: CouchDBServer, database: Database) -> Iterator[str]:
    """
    The server's URL with the credentials of a plain user.
    """
    name = f"web-{uuid.uuid4().hex}"
    doc_id = f"org.couchdb.user:{name}"
    document = {"name": name, "password": PASSWORD, "roles": [], "type": "user"}
    made = database.server.put(f"/_users/{doc_id}", json=document)
    assert made.status_code == 201, made.text
    parts = urlsplit(couchdb.public_url)
    yield urlunsplit(parts._replace(netloc=f"{name}:{QUOTED}@{parts.netloc}"))
    rev = database.server.get(f"/_users/{doc_id}").json()["_rev"]
    database.server.delete(f"/_users/{doc_id}", params={"rev": rev})


@pytest.mark.parametrize("auth", ["basic", "cookie"])
def test_requests_need_a_plain_member_only(
    sessions: Engine,
    database: Database,
    couchdb: CouchDBServer,
    member: str,
    configure: Callable[..., None],
    auth: str,
) -> None:
    configure(
        COUCHDB={"URL": member, "ADMIN_URL": couchdb.url, "AUTH": auth, "EXPIRY_GRACE": 0},
        TOUCH_INTERVAL=0,
    )
    key = stored(sessions, a=1, _auth_user_id="7")
    user = urlsplit(member).username
    assert database.get("_security") == admitting(user or "")
    # From here on nobody has an admin's password.
    configure(COUCHDB={"ADMIN_URL": None})
    session = sessions(key)
    session["b"] = 2
    session.save()
    one, two = sessions(key), sessions(key)
    one["one"], two["two"] = 1, 2
    one.save()
    two.save()
    session = sessions(key)
    assert dict(session.items()) == {"a": 1, "b": 2, "one": 1, "two": 2, "_auth_user_id": "7"}
    assert len(sessions.for_user(7)) == 1
    session.cycle_key()
    other = sessions(session.session_key)
    other.clear()
    other["new"] = 1
    other.save()
    assert contents(sessions, session.session_key or "") == {"new": 1}
    other.flush()
    assert not sessions().exists(key)


def test_a_member_may_collect_garbage_by_deleting(
    sessions: Engine,
    database: Database,
    couchdb: CouchDBServer,
    member: str,
    configure: Callable[..., None],
) -> None:
    configure(COUCHDB={"URL": member, "ADMIN_URL": couchdb.url, "EXPIRY_GRACE": 0})
    live = stored(sessions, a=1)
    session = sessions()
    session.set_expiry(-10)
    session.save()
    configure(COUCHDB={"ADMIN_URL": None})
    cleared = sessions.clear_expired()
    assert (cleared.seen, cleared.purged, cleared.deleted) == (1, 0, 1)
    assert "purg" in cleared.no_purge
    assert contents(sessions, live) == {"a": 1}


def test_who_may_come_in_is_not_changed_where_somebody_decided(
    sessions: Engine,
    database: Database,
    couchdb: CouchDBServer,
    member: str,
    configure: Callable[..., None],
) -> None:
    chosen = {
        "admins": {"names": ["boss"], "roles": []},
        "members": {"names": [urlsplit(member).username, "other"], "roles": []},
    }
    assert database.http.put("").status_code in (201, 202)
    assert database.http.put("_security", json=chosen).status_code == 200
    configure(COUCHDB={"URL": member, "ADMIN_URL": couchdb.url})
    stored(sessions, a=1)
    # It is the index that is missing now.
    assert sessions.for_user(1) == []
    assert database.get("_security") == chosen
    assert database.http.get("_design/distsession_users").status_code == 200


def test_a_database_made_by_hand_gets_its_design_documents_when_they_are_needed(
    sessions: Engine, database: Database
) -> None:
    assert database.http.put("").status_code in (201, 202)
    stored(sessions, a=1)
    assert database.http.get("_design/distsession_expiry").status_code == 404
    assert sessions.clear_expired().seen == 0
    for name in bundled_designs():
        assert database.http.get(f"_design/{name}").status_code == 200


def test_many_processes_may_need_it_at_once(sessions: Engine, database: Database) -> None:
    start, go = os.pipe()
    reader, writer = os.pipe()
    children = []
    for number in range(6):
        child = os.fork()
        if child == 0:
            try:
                os.close(go)
                os.read(start, 1)
                key = stored(sessions, number=number)
                good = contents(sessions, key) == {"number": number}
                good = good and sessions.clear_expired().seen == 0
                os.write(writer, b"+" if good else b"-")
            finally:
                os._exit(0)
        children.append(child)
    os.close(writer)
    os.close(start)
    os.close(go)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"+" * 6
    for child in children:
        os.waitpid(child, 0)
    assert database.counts()[0] == 6


def test_many_threads_may_need_it_at_once(sessions: Engine) -> None:
    start = threading.Barrier(8)
    keys: list[str] = []

    def work() -> None:
        start.wait()
        keys.append(stored(sessions, a=1))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [contents(sessions, key) for key in keys] == [{"a": 1}] * 8


class TestAddresses:
    """
    What `URL` may name, and what not.
    """

    @pytest.mark.parametrize("answer", [INFO, MISSING, NO_DATABASE, reply(200, {"status": "ok"})])
    def test_one_that_is_no_couchdb_is_named(
        self, faked: Engine, fake: FakeServer, answer: Any
    ) -> None:
        fake.welcome, fake.default = answer, NO_DATABASE
        with pytest.raises(StoreMisconfigured) as caught:
            stored(faked)
        assert str(caught.value).startswith(
            f"There is no CouchDB at http://127.0.0.1:{fake.port}, which "
            'DISTSESSION["COUCHDB"]["URL"] names'
        )
        assert 'DISTSESSION["COUCHDB"]["DATABASE"]' in str(caught.value)
        assert {request.method for request in fake.requests} == {"PUT"}

    @pytest.mark.parametrize("answer", [NO_ADMIN, reply(403, {}), reply(404, b"<html>")])
    def test_one_that_tells_nothing_is_used(
        self, faked: Engine, fake: FakeServer, answer: Any
    ) -> None:
        made = reply(201, {"ok": True, "rev": "1-a"})
        fake.welcome = answer
        fake.script = [NO_DATABASE, INFO, *[MISSING, made] * len(bundled_designs()), made]
        stored(faked)
        assert fake.script == []

    def test_the_path_of_a_database_is_not_taken_for_one(
        self,
        sessions: Engine,
        database: Database,
        couchdb: CouchDBServer,
        configure: Callable[..., None],
    ) -> None:
        database.http.put("")
        url = f"{couchdb.url}/{database.name}"
        configure(COUCHDB={"URL": url, "DATABASE": "sessions"})
        with pytest.raises(StoreMisconfigured, match="does not say Welcome"):
            stored(sessions)


class TestWhatIsSaid:
    def test_where_nothing_may_be_created(
        self, sessions: Engine, database: Database, configure: Callable[..., None]
    ) -> None:
        configure(COUCHDB={"CREATE": False})
        with pytest.raises(StoreMisconfigured) as caught:
            stored(sessions)
        for told in (database.name, '["CREATE"] is False', "manage.py migratedesigndocs", "admin"):
            assert told in str(caught.value)
        assert database.http.get("").status_code == 404
        assert database.http.put("").status_code in (201, 202)
        key = stored(sessions, a=1)
        assert contents(sessions, key) == {"a": 1}
        with pytest.raises(StoreMisconfigured, match="design document"):
            sessions.clear_expired()

    def test_where_the_user_may_not_create_it(self, faked: Engine, fake: FakeServer) -> None:
        fake.script = [NO_DATABASE, NO_DATABASE, NO_ADMIN]
        with pytest.raises(StoreMisconfigured) as caught:
            faked("a" * 32).load()
        for told in ('["URL"] may not create it', "server admin", "manage.py migratedesigndocs"):
            assert told in str(caught.value)
        assert fake.requests[-1].method == "PUT"

    def test_where_the_admin_is_none(
        self, faked: Engine, fake: FakeServer, configure: Callable[..., None]
    ) -> None:
        configure(COUCHDB={"ADMIN_URL": f"http://boss:secret@127.0.0.1:{fake.port}"})
        fake.script = [NO_DATABASE, NO_DATABASE, NO_ADMIN]
        with pytest.raises(StoreMisconfigured, match=r"\[\"ADMIN_URL\"\] may not create it"):
            faked("a" * 32).load()

    @pytest.mark.parametrize("status", [401, 403])
    def test_where_design_documents_are_refused(
        self, faked: Engine, fake: FakeServer, status: int
    ) -> None:
        refused = reply(status, {"error": "forbidden", "reason": "You are not a db admin."})
        fake.script = [MISSING, INFO, MISSING, refused]
        with pytest.raises(StoreMisconfigured) as caught:
            faked.for_user(7)
        for told in ("design documents", "database's admins", "manage.py migratedesigndocs"):
            assert told in str(caught.value)

    def test_two_nodes_that_stumble_over_each_other(self, faked: Engine, fake: FakeServer) -> None:
        stumbled = reply(500, {"error": "internal_server_error", "reason": "No DB shards"})
        made = reply(201, {"ok": True, "rev": "1-a"})
        fake.script = [
            NO_DATABASE,
            NO_DATABASE,
            stumbled,
            INFO,
            *[MISSING, made] * len(bundled_designs()),
            MISSING,
        ]
        assert faked("a" * 32).load() == {}
        assert fake.script == []

    def test_a_database_that_does_not_appear(self, faked: Engine, fake: FakeServer) -> None:
        made = reply(201, {"ok": True, "rev": "1-a"})
        fake.script = [
            NO_DATABASE,
            NO_DATABASE,
            made,
            *[MISSING, made] * len(bundled_designs()),
            NO_DATABASE,
        ]
        with pytest.raises(Exception, match="does not show"):
            faked("a" * 32).load()


class TestNames:
    def test_a_subclass_may_choose_another_database(
        self, sessions: Engine, distsession: dict[str, Any], database: Database
    ) -> None:
        class Elsewhere(SessionStore):
            @classmethod
            def database_name(cls, settings: conf.CouchDBSettings) -> str:
                return f"{settings.database}-other/part"

        key = stored(Elsewhere, a=1)
        other = database.name + "-other%2Fpart"
        assert database.server.get(f"/{other}/{Elsewhere.storage_id(key)}").status_code == 200
        assert database.http.get("").status_code == 404
        assert contents(Elsewhere, key) == {"a": 1}
        assert Elsewhere.clear_expired().seen == 0
        database.server.delete(f"/{other}")
