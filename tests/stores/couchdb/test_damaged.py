"""
Documents that somebody damaged, or made to do damage: they stop nobody else's session, no garbage
collection and no index function.
"""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Callable
from itertools import product
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth import SESSION_KEY as USER_KEY
from django.core.management import call_command

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.couchdb import branches
from django_distsession.stores.garbage import GCOptions
from tests.stores.couchdb.conftest import Database, add_expired, contents, storage_id, stored
from tests.stores.couchdb.fake import FakeServer, Request, reply

Engine = type[SessionStore]

NO_ROWS = reply(200, {"rows": []})
LOW = "0" * 32
# What a document may say in place of a time.
ODD_TIMES = [None, False, True, "x", "1000", 1000.5, [1000], {"a": 1}]


def add_branches(database: Database, doc_id: str, number: int, **changes: Any) -> None:
    """
    Add losing branches beside a document, as many at once as replication would.
    """
    document = database.get(doc_id)
    leaves = [
        {
            **document,
            **changes,
            "_rev": f"1-{n:032x}",
            "_revisions": {"start": 1, "ids": [f"{n:032x}"]},
        }
        for n in range(number)
    ]
    body = {"new_edits": False, "docs": leaves}
    assert database.http.post("_bulk_docs", json=body).status_code == 201


def foreign(**changes: Any) -> dict[str, Any]:
    """
    A document that is like a session's.
    """
    return {
        "type": "session",
        "version": [1, "AAAAAAAA"],
        "data": None,
        "user": None,
        "created_at": 1,
        "updated_at": 1,
        "expires_at": 1000,
        "ended": False,
        **changes,
    }


class TestManyBranches:
    """
    More than are asked for at once.
    """

    @pytest.fixture
    def crowded(self, sessions: Engine, database: Database) -> str:
        """
        The key of a session of user 7 that has 60 conflicting branches and a change on its own.
        """
        key = stored(sessions, **{USER_KEY: "7"}, a=1)
        add_branches(database, storage_id(sessions, key), 60)
        session = sessions(key)
        session["b"] = 2
        session.save()
        return key

    def test_are_one_session_for_its_owner(self, sessions: Engine, crowded: str) -> None:
        assert contents(sessions, crowded) == {USER_KEY: "7", "a": 1, "b": 2}
        assert [one.storage_id for one in sessions.for_user(7)] == [storage_id(sessions, crowded)]

    def test_are_merged_by_one_garbage_collection(
        self, sessions: Engine, database: Database, crowded: str
    ) -> None:
        assert sessions.clear_expired().merged == 1
        assert database.conflicts(storage_id(sessions, crowded)) == []
        assert contents(sessions, crowded) == {USER_KEY: "7", "a": 1, "b": 2}

    def test_that_expired_are_removed(self, sessions: Engine, database: Database) -> None:
        stored(sessions)
        (doc_id,) = add_expired(database, 1)
        add_branches(database, doc_id, 60)
        cleared = sessions.clear_expired()
        assert (cleared.seen, cleared.purged + cleared.deleted) == (1, 1)
        assert database.counts()[0] == 1

    def test_more_than_a_request_reads_stop_nobody_else(
        self,
        sessions: Engine,
        database: Database,
        crowded: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(branches, "MOST_BRANCHES", 40)
        other = stored(sessions, **{USER_KEY: "8"})
        add_expired(database, 3)
        with pytest.raises(StoreUnavailable, match="more than 40 conflicting branches"):
            sessions(crowded).load()
        assert [one.storage_id for one in sessions.for_user(8)] == [storage_id(sessions, other)]
        assert storage_id(sessions, crowded) in caplog.text
        # Each run mends a part of it.
        cleared = sessions.clear_expired()
        assert (cleared.seen, cleared.merged, cleared.passed_over) == (3, 1, 1)
        assert contents(sessions, crowded) == {USER_KEY: "7", "a": 1, "b": 2}
        cleared = sessions.clear_expired()
        assert (cleared.merged, cleared.passed_over) == (1, 0)
        assert database.conflicts(storage_id(sessions, crowded)) == []


def test_a_url_names_no_more_revisions_than_a_server_takes(faked: Engine, fake: FakeServer) -> None:
    revs = [f"{n}-{n:032x}" for n in range(1, 401)]

    def leaves(connection: Any, request: Request) -> bool:
        asked = json.loads(parse_qs(urlsplit(request.target).query)["open_revs"][0])
        entries = [{"ok": {**foreign(ended=True), "_id": "a" * 64, "_rev": rev}} for rev in asked]
        return reply(200, entries)(connection, request)

    document = {**foreign(ended=True), "_id": "a" * 64, "_rev": f"500-{LOW}", "_conflicts": revs}
    fake.script = [reply(200, document)]
    fake.default = leaves
    assert faked.get_store().get("a" * 64) is not None
    assert max(len(one.target) for one in fake.requests) < 4096


class TestTimesThatAreNone:
    @pytest.mark.parametrize("ended", [False, True])
    def test_never_expire(self, sessions: Engine, database: Database, ended: bool) -> None:
        stored(sessions)
        (expired,) = add_expired(database, 1)
        for number, odd in enumerate(ODD_TIMES):
            database.put({"_id": f"odd-{number}", **foreign(expires_at=odd, ended=ended)})
        output = io.StringIO()
        call_command("clearsessions", stdout=output)
        assert "1 expired sessions seen" in output.getvalue()
        assert f"{len(ODD_TIMES)} documents passed over" in output.getvalue()
        left = {row["id"] for row in database.http.get("_all_docs").json()["rows"]}
        assert left >= {f"odd-{number}" for number in range(len(ODD_TIMES))}
        assert expired not in left
        # A dry run only counts, fractions among the numbers.
        assert sessions.clear_expired(GCOptions(dry_run=True)).seen == 1

    def test_on_a_branch_keep_it_and_no_other(self, sessions: Engine, database: Database) -> None:
        stored(sessions)
        ids = add_expired(database, len(ODD_TIMES) + 1)
        for doc_id, odd in zip(ids, ODD_TIMES, strict=False):
            database.branch(foreign(_id=doc_id, expires_at=odd), None, f"1-{LOW}")
            database.branch(foreign(_id=doc_id, created_at=odd), None, f"1-{LOW[1:]}1")
        cleared = sessions.clear_expired()
        left = {row["id"] for row in database.http.get("_all_docs").json()["rows"]}
        assert left.intersection(ids) == set(ids[:-1])
        assert cleared.seen == 1
        assert cleared.passed_over >= len(ODD_TIMES)

    def test_keep_no_session_of_the_user_from_being_found(
        self, sessions: Engine, database: Database
    ) -> None:
        key = stored(sessions, **{USER_KEY: "7"})
        odd_fields = product(["created_at", "updated_at", "expires_at"], ODD_TIMES)
        for number, (field, odd) in enumerate(odd_fields):
            database.put({"_id": f"odd-{number}", **foreign(user="7")} | {field: odd})
        found = sessions.for_user(7)
        assert storage_id(sessions, key) in {one.storage_id for one in found}
        assert sessions.end_for_user(7) >= 1
        assert not sessions().exists(key)

    def test_of_the_last_change_leave_a_session_among_the_users(
        self, sessions: Engine, database: Database
    ) -> None:
        key = stored(sessions, **{USER_KEY: "7"})
        database.put({**database.get(storage_id(sessions, key)), "updated_at": "x"})
        (found,) = sessions.for_user(7)
        assert found.updated_at == found.created_at
        assert sessions.end_for_user(7) == 1


def test_an_index_of_an_older_release_may_show_anything(faked: Engine, fake: FakeServer) -> None:
    odd = [
        {"id": "a", "key": 1, "value": None},
        {"id": "b", "key": 1, "value": [[], []]},
        {"id": "c", "key": 1, "value": [["1-a"], "x"]},
        {"id": "d", "key": 1, "value": [[1], []]},
        {"id": "e", "key": 1.5, "value": [["1-a"], []]},
        {"id": "f", "key": False, "value": [["1-a"], []]},
    ]
    good = {"id": "g", "key": 1, "value": [["1-a"], []]}
    fake.script = [
        NO_ROWS,
        NO_ROWS,
        reply(200, {"rows": [*odd, good]}),
        reply(201, {"purged": {"g": ["1-a"]}}),
    ]
    fake.default = NO_ROWS
    cleared = faked.clear_expired(GCOptions(limit=1))
    assert (cleared.seen, cleared.purged, cleared.passed_over) == (1, 1, 6)
    assert next(iter(one.body for one in fake.requests if one.body)) == {"g": ["1-a"]}


def test_one_that_the_server_fails_at_keeps_no_other_from_being_removed(
    faked: Engine, fake: FakeServer
) -> None:
    rows = [{"id": f"{n:064x}", "key": 1, "value": [["1-a"], []]} for n in range(9)]

    def purge(connection: Any, request: Request) -> bool:
        if rows[5]["id"] in request.body:
            return reply(500, {"error": "badarg", "reason": "why"})(connection, request)
        return reply(201, {"purged": request.body})(connection, request)

    def answer(connection: Any, request: Request) -> bool:
        return (purge if request.target.endswith("_purge") else NO_ROWS)(connection, request)

    fake.script = [NO_ROWS, NO_ROWS, reply(200, {"rows": rows})]
    fake.default = answer
    cleared = faked.clear_expired()
    assert (cleared.seen, cleared.purged, cleared.passed_over) == (9, 8, 1)


def test_a_server_that_fails_at_all_ends_the_run(faked: Engine, fake: FakeServer) -> None:
    rows = [{"id": f"{n:064x}", "key": 1, "value": [["1-a"], []]} for n in range(5)]
    fake.script = [NO_ROWS, NO_ROWS, reply(200, {"rows": rows})]
    fake.default = reply(500, {"error": "e", "reason": "r"})
    with pytest.raises(StoreUnavailable, match="removes no document"):
        faked.clear_expired()


@pytest.mark.parametrize("hashed", [True, False])
def test_what_is_passed_over_is_named_but_no_session_key_is(
    sessions: Engine,
    database: Database,
    configure: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    hashed: bool,
) -> None:
    configure(HASH_KEYS=hashed)
    key = stored(sessions)
    doc_id = storage_id(sessions, key)
    document = database.get(doc_id)
    database.branch({**document, "type": "other"}, None, f"1-{LOW}")
    caplog.set_level(logging.DEBUG)
    assert sessions.clear_expired().passed_over == 1
    assert key not in caplog.text
    assert (doc_id in caplog.text) is hashed
    assert "1 of its branches cannot be read" in caplog.text


def test_a_session_that_cannot_be_ended_keeps_no_other_alive(
    sessions: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [stored(sessions, **{USER_KEY: "7"}) for _ in range(3)]
    crowded = min(keys, key=lambda key: storage_id(sessions, key))
    add_branches(database, storage_id(sessions, crowded), 2)
    assert len(sessions.for_user(7)) == 3
    store = sessions.get_store()
    end = store.end

    def refuse(storage_id_: str, *args: Any) -> None:
        if storage_id_ == storage_id(sessions, crowded):
            raise StoreUnavailable("not this one")
        end(storage_id_, *args)

    monkeypatch.setattr(store, "end", refuse)
    with pytest.raises(StoreUnavailable, match="not this one"):
        sessions.end_for_user(7)
    assert [sessions().exists(key) for key in keys] == [key == crowded for key in keys]


def test_a_document_nested_too_deeply_stops_nobody_else(faked: Engine, fake: FakeServer) -> None:
    good = {**foreign(user="8", data="", expires_at=2**40), "_id": "b", "_rev": "1-a"}
    rows = [{"id": one, "key": one, "value": 1} for one in "ab"]
    deep = reply(200, b'{"_id": "a", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    fake.script = [NO_ROWS, reply(200, {"rows": rows}), deep, reply(200, good)]
    assert [one.storage_id for one in faked.for_user(8)] == ["b"]
    fake.script = [deep]
    with pytest.raises(StoreUnavailable, match="nested too deeply"):
        faked("a" * 32).load()


def test_branches_under_a_key_that_is_not_known_are_left_alone(
    sessions: Engine, database: Database
) -> None:
    key, other = (stored(sessions, **{USER_KEY: user}) for user in "78")
    doc_id = storage_id(sessions, key)
    older = database.get(doc_id)
    changed = sessions(key)
    changed["a"] = 1
    changed.save()
    newer = database.get(doc_id)
    unreadable = base64.b64encode(b"x" + base64.b64decode(newer["data"])[1:]).decode()
    database.put({**newer, "data": unreadable})
    database.branch(older, None, f"1-{LOW}")
    assert [one.storage_id for one in sessions.for_user(8)] == [storage_id(sessions, other)]
    assert sessions.clear_expired().passed_over == 1
    assert database.conflicts(doc_id) == [f"1-{LOW}"]
