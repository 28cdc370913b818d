"""
Branches of one document, as clusters and replication make them, read and written as one session.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.core.management import call_command

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import SessionContended
from django_distsession.stores.couchdb.branches import MAX_READS
from tests.stores.couchdb.conftest import Database, contents, storage_id, stored
from tests.stores.couchdb.fake import FakeServer, reply

Engine = type[SessionStore]

HIGH, LOW = "f" * 32, "0" * 32


def diverged(sessions: Engine, database: Database, **base: Any) -> str:
    """
    Store a session with two branches: one changed `one`, the other `two`.
    """
    key = stored(sessions, **base)
    doc_id = storage_id(sessions, key)
    first = database.get(doc_id)
    documents = []
    for name in ("one", "two"):
        session = sessions(key)
        session[name] = name
        session.save()
        documents.append(database.get(doc_id))
        # Undo it in the store, keeping what was saved.
        database.put({**first, "_rev": documents[-1]["_rev"]})
    tip = database.get(doc_id)["_rev"]
    generation = int(tip.partition("-")[0]) + 1
    database.branch(documents[0], tip, f"{generation}-{LOW}")
    database.branch(documents[1], tip, f"{generation}-{HIGH}")
    assert database.conflicts(doc_id) == [f"{generation}-{LOW}"]
    return key


def test_a_read_shows_what_every_branch_says(sessions: Engine, database: Database) -> None:
    key = diverged(sessions, database, base=1)
    assert contents(sessions, key) == {"base": 1, "one": "one", "two": "two"}


def test_the_next_save_writes_the_merge_and_removes_the_losing_leaves(
    sessions: Engine, database: Database
) -> None:
    key = diverged(sessions, database)
    session = sessions(key)
    session["three"] = 3
    session.save()
    assert database.conflicts(storage_id(sessions, key)) == []
    assert contents(sessions, key) == {"one": "one", "two": "two", "three": 3}


def test_a_save_that_saw_one_branch_removes_no_other(sessions: Engine, database: Database) -> None:
    key = stored(sessions)
    doc_id = storage_id(sessions, key)
    session = sessions(key)
    session["mine"] = 1
    before = database.get(doc_id)
    other = sessions(key)
    other["theirs"] = 1
    other.save()
    theirs = database.get(doc_id)
    database.put({**before, "_rev": theirs["_rev"]})
    session = sessions(key)
    session["mine"] = 1
    session.keys()
    generation = int(database.get(doc_id)["_rev"].partition("-")[0])
    database.branch(theirs, None, f"{generation}-{LOW}")
    session.save()
    assert len(database.conflicts(doc_id)) == 1
    assert contents(sessions, key) == {"mine": 1, "theirs": 1}


def test_clearsessions_merges_what_nobody_saves(sessions: Engine, database: Database) -> None:
    keys = [diverged(sessions, database, number=number) for number in range(3)]
    cleared = sessions.clear_expired()
    assert cleared.merged == 3
    for number, key in enumerate(keys):
        document = database.get(storage_id(sessions, key), conflicts="true")
        assert "_conflicts" not in document
        assert contents(sessions, key) == {"number": number, "one": "one", "two": "two"}
    assert sessions.clear_expired().merged == 0


@pytest.mark.parametrize("winner", ["live", "ended"])
def test_a_session_that_ended_on_any_branch_is_ended(
    sessions: Engine, database: Database, winner: str
) -> None:
    key = stored(sessions, a=1)
    doc_id = storage_id(sessions, key)
    live = database.get(doc_id)
    other = sessions(key)
    other.keys()
    sessions(key).delete()
    ended = database.get(doc_id)
    assert ended["ended"]
    tip = database.put({**live, "_rev": ended["_rev"]})
    generation = int(tip.partition("-")[0]) + 1
    database.branch(live, tip, f"{generation}-{HIGH if winner == 'live' else LOW}")
    database.branch(ended, tip, f"{generation}-{LOW if winner == 'live' else HIGH}")
    assert database.get(doc_id)["ended"] is (winner == "ended")
    assert not sessions().exists(key)
    assert contents(sessions, key) == {}
    other["b"] = 1
    with pytest.raises(UpdateError):
        other.save()
    call_command("clearsessions", verbosity=0)
    assert contents(sessions, key) == {}


def test_ending_a_conflicted_session_removes_what_its_branches_held(
    sessions: Engine, database: Database
) -> None:
    key = diverged(sessions, database, secret="s")
    sessions(key).flush()
    document = database.get(storage_id(sessions, key), conflicts="true")
    assert (document["ended"], document["data"], document["user"]) == (True, None, None)
    assert "_conflicts" not in document


def test_a_branch_that_cannot_be_read_is_left_alone(sessions: Engine, database: Database) -> None:
    key = stored(sessions, a=1)
    doc_id = storage_id(sessions, key)
    document = database.get(doc_id)
    database.branch({**document, "type": "other"}, None, f"1-{LOW}")
    session = sessions(key)
    session["b"] = 1
    session.save()
    assert database.conflicts(doc_id) == [f"1-{LOW}"]
    assert contents(sessions, key) == {"a": 1, "b": 1}


def test_many_branches_are_merged_and_removed_in_turn(sessions: Engine, database: Database) -> None:
    key = stored(sessions, a=1)
    doc_id = storage_id(sessions, key)
    document = database.get(doc_id)
    for number in range(12):
        database.branch(document, None, f"1-{number:032x}")
    assert len(database.conflicts(doc_id)) >= 11
    session = sessions(key)
    for turn in range(4):
        session["turn"] = turn
        session.save()
        session = sessions(key)
    assert database.conflicts(doc_id) == []
    assert contents(sessions, key) == {"a": 1, "turn": 3}


def test_a_replicated_revision_with_a_space_is_replaced_and_ended(
    sessions: Engine, database: Database
) -> None:
    key = stored(sessions, a=1)
    doc_id = storage_id(sessions, key)
    document = database.get(doc_id)
    for rev in ("9-a b", "9-c d"):
        database.branch(document, None, rev)
    session = sessions(key)
    session["b"] = 2
    session.save()
    assert database.conflicts(doc_id) == []
    assert contents(sessions, key) == {"a": 1, "b": 2}
    database.branch(database.get(doc_id), None, "99-e f")
    sessions(key).flush()
    assert contents(sessions, key) == {}


class TestBranchesThatAreGone:
    """
    By the time that they are asked for: another request has merged and removed them.
    """

    @pytest.fixture
    def diverging(self, faked: Engine, fake: FakeServer) -> tuple[SessionStore, Any]:
        """
        A session that has ended on a losing branch, and what the server says of the winning one.
        """
        fake.script = [reply(201, {"rev": f"2-{HIGH}"})]
        key = stored(faked, a=1)
        document = {**fake.requests[0].body, "_rev": f"2-{HIGH}", "_conflicts": [f"2-{LOW}"]}
        fake.requests.clear()
        return faked(key), document

    @pytest.mark.parametrize("how", ["removed", "purged"])
    def test_are_looked_for_in_the_winner(self, diverging: Any, fake: FakeServer, how: str) -> None:
        session, document = diverging
        removed = {"_id": document["_id"], "_rev": f"2-{LOW}", "_deleted": True}
        ended = {**document, "_rev": f"3-{HIGH}", "ended": True, "data": None}
        del ended["_conflicts"]
        gone = {"removed": {"ok": removed}, "purged": {"missing": f"2-{LOW}"}}[how]
        fake.script = [reply(200, document), reply(200, [gone]), reply(200, ended)]
        assert session.load() == {}

    def test_are_not_looked_for_without_end(self, diverging: Any, fake: FakeServer) -> None:
        session, document = diverging
        fake.script = [reply(200, document), reply(200, [{"missing": f"2-{LOW}"}])] * 10
        with pytest.raises(SessionContended):
            session.load()
        assert len(fake.requests) == 2 * MAX_READS


def test_a_save_answered_202_reads_again(faked: Engine, fake: FakeServer) -> None:
    session = faked()
    session["a"] = 1

    def read_back(connection: Any, request: Any) -> bool:
        written = fake.requests[0].body
        return reply(200, {**written, "_rev": f"1-{HIGH}"})(connection, request)

    fake.script = [reply(202, {"ok": True, "rev": f"1-{HIGH}"}), read_back]
    session.save()
    assert [request.method for request in fake.requests] == ["PUT", "GET"]
    assert "conflicts=true" in fake.requests[1].target


def test_a_save_answered_202_beside_another_is_merged_and_written_again(
    faked: Engine, fake: FakeServer
) -> None:
    session = faked()
    session["a"] = 1
    fake.script = [reply(201, {"ok": True, "rev": f"1-{LOW}"})]
    session.save()
    first = dict(fake.requests[0].body)
    other = faked(session.session_key)
    fake.script = [reply(200, {**first, "_rev": f"1-{LOW}"}), reply(201, {"rev": f"2-{HIGH}"})]
    other["other"] = 1
    other.save()
    theirs = {**fake.requests[-1].body, "_rev": f"2-{HIGH}"}
    fake.requests.clear()

    def with_conflicts(connection: Any, request: Any) -> bool:
        body = {**theirs, "_conflicts": [f"2-{LOW}"]}
        return reply(200, body)(connection, request)

    def leaf(connection: Any, request: Any) -> bool:
        mine = {**fake.requests[0].body, "_rev": f"2-{LOW}"}
        return reply(200, [{"ok": mine}])(connection, request)

    fake.script = [
        reply(202, {"ok": True, "rev": f"2-{LOW}"}),
        with_conflicts,
        leaf,
        reply(201, {"ok": True, "rev": f"3-{HIGH}"}),
        reply(201, [{"ok": True, "rev": f"3-{LOW}"}]),
    ]
    session["mine"] = 1
    session.save()
    put = fake.requests[3]
    assert (put.method, put.body["_rev"]) == ("PUT", f"2-{HIGH}")
    assert fake.requests[4].body["docs"][0]["_rev"] == f"2-{LOW}"
    assert dict(session.items()) == {"a": 1, "mine": 1, "other": 1}


def test_an_expired_branch_beside_a_live_one_does_not_end_the_session(
    sessions: Engine, database: Database
) -> None:
    key = diverged(sessions, database)
    doc_id = storage_id(sessions, key)
    document = database.get(doc_id)
    generation = int(document["_rev"].partition("-")[0])
    assert document["expires_at"] > time.time()
    expired = {**document, "expires_at": 1}
    database.branch(expired, None, f"{generation + 1}-{HIGH}")
    assert database.get(doc_id)["expires_at"] == 1
    cleared = sessions.clear_expired()
    assert (cleared.purged, cleared.deleted) == (0, 0)
    assert contents(sessions, key) == {"one": "one", "two": "two"}
