"""
Conditional reads: what is transferred, and that nothing ended or acknowledged hides behind a 304.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.backends.base import UpdateError

from django_distsession.backends.couchdb import SessionStore
from django_distsession.clock import Clock
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.couchdb.client import Client
from django_distsession.stores.couchdb.conditional import CHECK_AFTER, OUTRANKING, outrank
from django_distsession.stores.deadline import Deadline
from django_distsession.stores.record import Record
from tests.stores.couchdb.conftest import Database, contents, storage_id, stored
from tests.stores.couchdb.fake import FakeServer, reply

Engine = type[SessionStore]

HIGH, LOW = "f" * 32, "0" * 32


@pytest.fixture
def conditional(sessions: Engine, configure: Callable[..., None]) -> Engine:
    configure(COUCHDB={"CONDITIONAL_READS": True})
    return sessions


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """
    What reads were answered, in their order.
    """
    seen: list[str] = []
    get, get_unless = Client.get, Client.get_unless

    def counted_get(self: Client, doc_id: str, *args: Any, **query: Any) -> Any:
        if not doc_id.startswith("_design/"):
            seen.append("full")
        return get(self, doc_id, *args, **query)

    def counted_get_unless(self: Client, doc_id: str, rev: str, *args: Any) -> Any:
        document = get_unless(self, doc_id, rev, *args)
        seen.append("304" if document is None else "200")
        return document

    monkeypatch.setattr(Client, "get", counted_get)
    monkeypatch.setattr(Client, "get_unless", counted_get_unless)
    return seen


def test_what_did_not_change_is_not_sent_again(
    conditional: Engine, database: Database, replies: list[str]
) -> None:
    key = stored(conditional, a=1)
    for _ in range(3):
        assert contents(conditional, key) == {"a": 1}
    again = "304" if database.tells_conditions else "200"
    assert replies == ["full", again, again]


def test_what_another_process_saved_is_seen_at_once(
    conditional: Engine, database: Database, replies: list[str]
) -> None:
    key = stored(conditional, a=1)
    contents(conditional, key)
    store: Any = conditional.get_store()
    mine, store._conditional = store._conditional, None
    session = conditional(key)
    session["a"] = 2
    session.save()
    store._conditional = mine
    assert contents(conditional, key) == {"a": 2}
    assert replies[-1] == "200"


def test_ones_own_save_is_known(
    conditional: Engine, database: Database, replies: list[str]
) -> None:
    key = stored(conditional, a=1)
    session = conditional(key)
    session["b"] = 1
    session.save()
    assert contents(conditional, key) == {"a": 1, "b": 1}
    assert replies == ["full", "304" if database.tells_conditions else "200"]


@pytest.mark.parametrize("saves", [1, 5])
def test_an_end_on_another_branch_is_never_read_as_live(
    conditional: Engine, database: Database, saves: int
) -> None:
    """
    The session ends on one side of a partition, and is saved several times on the other.
    """
    key = stored(conditional, a=1)
    doc_id = storage_id(conditional, key)
    before = database.get(doc_id)
    conditional(key).delete()
    ended = database.get(doc_id)
    assert ended["ended"]
    assert ended["_rev"].startswith(f"{OUTRANKING}-")
    # The other side, which this process knows and reads conditionally.
    database.http.delete("")
    database.http.put("")
    other = {name: value for name, value in before.items() if name != "_rev"}
    database.branch(other, None, f"{saves + 1}-{HIGH}")
    assert contents(conditional, key) == {"a": 1}
    late = conditional(key)
    late["b"] = 1
    # The partition heals: the end arrives as replication brings it.
    rev = ended["_rev"]
    database.branch(ended, None, rev)
    assert contents(conditional, key) == {}
    assert not conditional().exists(key)
    # Whoever still saves on the other branch does not bring it back.
    late.save()
    assert contents(conditional, key) == {}


def test_who_saves_after_the_end_is_told(conditional: Engine, database: Database) -> None:
    key = stored(conditional, a=1)
    late = conditional(key)
    late["b"] = 1
    conditional(key).flush()
    with pytest.raises(UpdateError):
        late.save()
    assert contents(conditional, key) == {}
    conditional(key).flush()


def test_an_ended_session_is_collected_whole(conditional: Engine, database: Database) -> None:
    key = stored(conditional, a=1)
    conditional.get_store().end(str(conditional.storage_id(key)), int(time.time()) - 8000)
    assert database.counts()[0] == 1
    cleared = conditional.clear_expired()
    assert cleared.purged + cleared.deleted == 1
    live, stubs = database.counts()
    assert live == 0
    if database.can_purge:
        assert stubs == 0


def test_no_change_on_a_losing_branch_is_lost(
    conditional: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stored(conditional, a=1)
    doc_id = storage_id(conditional, key)
    contents(conditional, key)
    # Somebody else saves; replication makes that a losing branch beside what we know.
    first = database.get(doc_id)
    other = conditional(key)
    other["theirs"] = 1
    other.save()
    theirs = database.get(doc_id)
    tip = database.put({**first, "_rev": theirs["_rev"]})
    contents(conditional, key)
    database.branch(theirs, None, f"1-{LOW}")
    assert database.get(doc_id)["_rev"] == tip
    session = conditional(key)
    session["mine"] = 1
    session.save()
    assert len(database.conflicts(doc_id)) == 1
    # Not later than this it is seen.
    reads = conditional.get_store()._conditional  # type: ignore[attr-defined]
    later = Clock(monotonic=lambda: time.monotonic() + CHECK_AFTER + 1)
    monkeypatch.setattr(reads, "_clock", later)
    assert contents(conditional, key) == {"a": 1, "mine": 1, "theirs": 1}
    session = conditional(key)
    session["last"] = 1
    session.save()
    assert database.conflicts(doc_id) == []
    assert contents(conditional, key) == {"a": 1, "last": 1, "mine": 1, "theirs": 1}


def test_a_conflicted_document_is_not_remembered(
    conditional: Engine, database: Database, replies: list[str]
) -> None:
    key = stored(conditional, a=1)
    doc_id = storage_id(conditional, key)
    database.branch(database.get(doc_id), None, f"1-{LOW}")
    contents(conditional, key)
    contents(conditional, key)
    assert replies == ["full", "full"]


def test_a_document_that_is_gone_is_no_session(conditional: Engine, database: Database) -> None:
    key = stored(conditional, a=1)
    contents(conditional, key)
    doc_id = storage_id(conditional, key)
    database.http.delete(doc_id, params={"rev": database.get(doc_id)["_rev"]})
    assert contents(conditional, key) == {}
    database.http.delete("")
    assert contents(conditional, key) == {}


def test_a_304_is_taken_from_any_server_that_gives_it(
    faked: Engine, fake: FakeServer, configure: Callable[..., None]
) -> None:
    configure(COUCHDB={"CONDITIONAL_READS": True})
    fake.script = [reply(201, {"rev": f"1-{HIGH}"})]
    key = stored(faked, a=1)
    document = {**fake.requests[0].body, "_rev": f"1-{HIGH}"}
    fake.script = [reply(200, document), reply(304), reply(304)]
    for _ in range(3):
        assert contents(faked, key) == {"a": 1}
    assert fake.requests[1].headers.get("if-none-match") is None
    assert fake.requests[2].headers["if-none-match"] == f'"1-{HIGH}"'
    assert "conflicts" not in fake.requests[2].target


def test_what_was_accepted_by_too_few_nodes_is_read_whole(
    faked: Engine, fake: FakeServer, configure: Callable[..., None]
) -> None:
    configure(COUCHDB={"CONDITIONAL_READS": True})

    def read_back(connection: Any, request: Any) -> bool:
        return reply(200, {**fake.requests[0].body, "_rev": f"1-{HIGH}"})(connection, request)

    fake.script = [reply(202, {"rev": f"1-{HIGH}"}), read_back, read_back]
    key = stored(faked, a=1)
    assert contents(faked, key) == {"a": 1}
    assert ["conflicts=true" in one.target for one in fake.requests] == [False, True, True]


def test_an_end_that_did_not_outrank_is_no_end(
    faked: Engine, fake: FakeServer, configure: Callable[..., None]
) -> None:
    configure(COUCHDB={"CONDITIONAL_READS": True})
    fake.script = [reply(201, {"rev": f"1-{HIGH}"})]
    key = stored(faked, a=1)
    document = {**fake.requests[0].body, "_rev": f"1-{HIGH}"}
    refused = [{"id": "x", "error": "forbidden", "reason": "no"}]
    fake.script = [reply(200, document), reply(201, {"rev": f"2-{HIGH}"}), reply(201, refused)]
    with pytest.raises(StoreUnavailable):
        faked(key).delete(key)


def test_one_outranking_revision_has_one_content() -> None:
    sent: dict[str, dict[str, Any]] = {}

    class Remembering:
        def bulk_docs(
            self, documents: list[dict[str, Any]], deadline: Deadline, *, new_edits: bool
        ) -> list[dict[str, Any]]:
            for document in documents:
                assert sent.setdefault(document["_rev"], document) == document
            return []

    client: Any = Remembering()
    tombstone = Record.tombstone(500)
    ends = [tombstone, tombstone.retained_until(900), tombstone._replace(created_at=1)]
    for ended in [*ends, *ends]:
        for doc_id in ("a" * 64, "b" * 64):
            outrank(client, doc_id, ended, Deadline(1))
    assert len(sent) == 6
