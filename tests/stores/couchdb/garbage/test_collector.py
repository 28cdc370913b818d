"""
Garbage collection, and the command that runs it.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.couchdb.client import Client
from django_distsession.stores.garbage import GCOptions
from tests.stores.couchdb.conftest import Database, add_expired, contents, storage_id, stored
from tests.stores.couchdb.fake import FakeServer, reply

Engine = type[SessionStore]

ROWS = reply(
    200, {"rows": [{"id": f"{n:064x}", "key": n, "value": [["1-a"], []]} for n in range(150)]}
)
NO_ROWS = reply(200, {"rows": []})
COUNT = reply(200, {"rows": [{"key": None, "value": 150}]})
BEHIND = reply(
    500,
    {
        "error": "timeout",
        "reason": "The request could not be processed in a reasonable amount of time.",
    },
)
TOO_MANY = reply(400, {"error": "bad_request", "reason": "Exceeded maximum number of documents."})


def expired(sessions: Engine, **values: Any) -> str:
    """
    Store a session that expired an hour ago, and return its key.
    """
    session = sessions()
    session.update(values)
    session.set_expiry(-3600)
    session.save()
    assert session.session_key is not None
    return session.session_key


def test_expired_sessions_and_tombstones_are_gone_and_live_ones_stay(
    sessions: Engine, database: Database
) -> None:
    live = stored(sessions, a=1)
    expired(sessions, b=1)
    add_expired(database, 3, ended=True)
    cleared = sessions.clear_expired()
    assert (cleared.seen, cleared.purged + cleared.deleted, cleared.skipped) == (4, 4, 0)
    assert contents(sessions, live) == {"a": 1}
    sessions_left, stubs = database.counts()
    assert sessions_left == 1
    if database.can_purge:
        assert (cleared.deleted, stubs, cleared.no_purge) == (0, 0, "")
    else:
        assert "cannot purge" in cleared.no_purge


def test_all_leaves_of_a_conflicted_document_go(sessions: Engine, database: Database) -> None:
    stored(sessions)
    for ended in (True, False):
        for doc_id in add_expired(database, 3, ended=ended):
            document = database.get(doc_id)
            database.branch(document, None, "1-" + "0" * 32)
            rev = database.branch({**document, "b": 1}, None, "1-" + "1" * 32)
            database.http.delete(doc_id, params={"rev": rev})
        cleared = sessions.clear_expired()
        assert cleared.seen == 3
        assert cleared.purged + cleared.deleted == 3
        assert database.counts() == (1, 0 if database.can_purge else database.counts()[1])


def test_what_was_saved_after_the_index_was_read_stays(
    sessions: Engine,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored(sessions)
    key = expired(sessions, a=1)
    expired(sessions)
    doc_id = storage_id(sessions, key)
    view = Client.view

    def view_then_save(self: Client, design: str, name: str, **query: Any) -> Any:
        rows = view(self, design, name, **query)
        if any(row["id"] == doc_id for row in rows):
            document = database.get(doc_id)
            database.put({**document, "expires_at": int(time.time()) + 1000})
        return rows

    monkeypatch.setattr(Client, "view", view_then_save)
    cleared = sessions.clear_expired()
    assert (cleared.seen, cleared.skipped) == (2, 1)
    assert database.get(doc_id)["expires_at"] > time.time()


def test_a_session_stays_for_the_grace_after_it_expired(
    sessions: Engine, configure: Callable[..., None]
) -> None:
    session = sessions()
    session.set_expiry(-100)
    session.save()
    assert sessions.clear_expired().seen == 0
    configure(COUCHDB={"EXPIRY_GRACE": 10})
    assert sessions.clear_expired().seen == 1


class TestRetention:
    """
    A save that shortens a session's life leaves copies elsewhere that may live longer than it.
    """

    @pytest.fixture
    def shortened(self, sessions: Engine, database: Database) -> str:
        """
        The storage id of a session that was to live for weeks and expired an hour ago.
        """
        session = sessions(stored(sessions, a=1))
        session.set_expiry(-3600)
        session.save()
        return storage_id(sessions, session.session_key or "")

    def test_what_was_shortened_stays_until_no_copy_lives(
        self, sessions: Engine, database: Database, shortened: str
    ) -> None:
        document = database.get(shortened)
        assert document["expires_at"] < time.time() < document["retain_until"]
        assert sessions.clear_expired(GCOptions(dry_run=True)).seen == 0
        assert sessions.clear_expired().seen == 0
        database.put({**document, "retain_until": int(time.time()) - 3600})
        cleared = sessions.clear_expired()
        assert (cleared.seen, cleared.purged + cleared.deleted) == (1, 1)

    def test_a_tombstone_stays_as_long(
        self, sessions: Engine, database: Database, shortened: str
    ) -> None:
        document = {**database.get(shortened), "ended": True, "data": None}
        rev = database.put(document)
        assert sessions.clear_expired().seen == 0
        database.put({**document, "_rev": rev, "retain_until": 1})
        assert sessions.clear_expired().seen == 1

    @pytest.mark.parametrize("is_retained", [True, False])
    def test_a_branch_stays_as_long(
        self, sessions: Engine, database: Database, is_retained: bool
    ) -> None:
        stored(sessions)
        (doc_id,) = add_expired(database, 1)
        until = int(time.time()) + (3600 if is_retained else -3600)
        losing = {**database.get(doc_id), "retain_until": until}
        database.branch(losing, None, "1-" + "0" * 32)
        assert sessions.clear_expired().seen == (0 if is_retained else 1)
        assert database.counts()[0] == (2 if is_retained else 1)

    @pytest.mark.parametrize("odd", [None, "x", 1000.5, [1000]], ids=repr)
    def test_a_time_that_is_none_is_reported(
        self, sessions: Engine, database: Database, odd: Any
    ) -> None:
        stored(sessions)
        (doc_id,) = add_expired(database, 1)
        database.put({**database.get(doc_id), "retain_until": odd})
        cleared = sessions.clear_expired()
        assert (cleared.purged + cleared.deleted, cleared.passed_over) == (0, 1)
        assert database.get(doc_id)["_id"] == doc_id


def test_batches_and_limit(sessions: Engine, database: Database) -> None:
    stored(sessions)
    add_expired(database, 25)
    steps: list[int] = []
    options = GCOptions(batch_size=10, limit=23, progress=lambda done: steps.append(done.seen))
    cleared = sessions.clear_expired(options)
    assert steps == [10, 20, 23]
    assert (cleared.seen, cleared.total) == (23, 23)
    assert sessions.clear_expired(GCOptions(batch_size=1)).seen == 2


def test_a_run_out_of_time_stops_and_the_next_goes_on(sessions: Engine, database: Database) -> None:
    stored(sessions)
    add_expired(database, 20)
    cleared = sessions.clear_expired(GCOptions(batch_size=5, max_seconds=1e-9))
    assert cleared.seen == 5
    assert sessions.clear_expired().seen == 15


def test_a_dry_run_removes_nothing(sessions: Engine, database: Database) -> None:
    stored(sessions)
    add_expired(database, 7)
    assert sessions.clear_expired(GCOptions(dry_run=True)).seen == 7
    assert sessions.clear_expired(GCOptions(dry_run=True, limit=5)).seen == 5
    assert database.counts()[0] == 8


def test_a_run_that_was_killed_lost_nothing(
    sessions: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = stored(sessions, a=1)
    add_expired(database, 20)
    bulk_docs, purge = Client.bulk_docs, Client.purge
    calls = iter(range(100))

    def killed(method: Any) -> Any:
        def call(self: Client, *args: Any, **kwargs: Any) -> Any:
            if next(calls) == 3:
                raise KeyboardInterrupt
            return method(self, *args, **kwargs)

        return call

    monkeypatch.setattr(Client, "bulk_docs", killed(bulk_docs))
    monkeypatch.setattr(Client, "purge", killed(purge))
    with pytest.raises(KeyboardInterrupt):
        sessions.clear_expired(GCOptions(batch_size=5))
    left = database.counts()[0]
    assert 1 < left < 21
    assert sessions.clear_expired(GCOptions(batch_size=5)).seen == left - 1
    assert contents(sessions, live) == {"a": 1}
    assert database.counts()[0] == 1


def test_several_hosts_may_run_it_at_once(sessions: Engine, database: Database) -> None:
    stored(sessions)
    add_expired(database, 200)
    results = []
    start = threading.Barrier(3)

    def run() -> None:
        start.wait()
        results.append(sessions.clear_expired(GCOptions(batch_size=20)))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert sum(one.purged + one.deleted for one in results) >= 200
    assert database.counts()[0] == 1


def test_live_sessions_survive_while_they_are_touched(
    sessions: Engine, database: Database, settings: Any, configure: Callable[..., None]
) -> None:
    """
    All sessions are as good as expired when the run begins, until somebody touches them.
    """
    configure(TOUCH_INTERVAL=0, COUCHDB={"EXPIRY_GRACE": 0})
    keys = [stored(sessions, number=number) for number in range(20)]
    add_expired(database, 500)
    stop = threading.Event()
    failures: list[BaseException] = []

    def touch(mine: list[str]) -> None:
        try:
            turn = 0
            while not stop.is_set() or turn == 0:
                turn += 1
                for key in mine:
                    session = sessions(key)
                    session["turn"] = turn
                    session.save()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=touch, args=(keys[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        cleared = sessions.clear_expired(GCOptions(batch_size=50))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert cleared.purged + cleared.deleted == 500
    assert [contents(sessions, key)["number"] for key in keys] == list(range(20))
    live, stubs = database.counts()
    assert live == 20
    if database.can_purge:
        assert stubs == 0


class TestServersThatCannot:
    """
    What real servers refuse, each at another time.
    """

    def test_a_server_that_takes_a_hundred_gets_hundreds(
        self, faked: Engine, fake: FakeServer
    ) -> None:
        def purge(connection: Any, request: Any) -> bool:
            return reply(201, {"purged": request.body})(connection, request)

        fake.script = [COUNT, NO_ROWS, ROWS, TOO_MANY, purge, purge]
        fake.default = NO_ROWS
        cleared = faked.clear_expired()
        sizes = [len(one.body) for one in fake.requests if one.target.endswith("_purge")]
        assert sizes == [150, 100, 50]
        assert (cleared.purged, cleared.no_purge) == (150, "")

    def test_one_whose_index_is_far_behind_is_waited_for(
        self, faked: Engine, fake: FakeServer
    ) -> None:
        fake.script = [BEHIND, BEHIND, COUNT, NO_ROWS]
        fake.default = NO_ROWS
        assert faked.clear_expired().total == 150
        queries = [one.target for one in fake.requests[:3]]
        assert len(set(queries)) == 1
        assert "update=true" in queries[0]

    def test_a_row_that_stays_is_not_read_again(self, faked: Engine, fake: FakeServer) -> None:
        fake.script = [COUNT, NO_ROWS, ROWS, reply(201, {"purged": {}})]
        fake.default = NO_ROWS
        assert faked.clear_expired(GCOptions(batch_size=150)).skipped == 150
        assert f"startkey_docid={149:064x}%00" in fake.requests[4].target

    @pytest.mark.parametrize(
        ("refusal", "why"),
        [
            (reply(401, {"error": "unauthorized", "reason": "no admin"}), "server admin's right"),
            (reply(403, {"error": "forbidden", "reason": "no admin"}), "server admin's right"),
            (reply(501, {}), "cannot purge"),
            (reply(405, {"error": "method_not_allowed", "reason": "no"}), "cannot purge"),
            (reply(400, {"error": "bad_request", "reason": "multipart"}), "cannot purge"),
        ],
        ids=["401", "403", "501", "405", "400"],
    )
    def test_where_it_may_not_purge_it_deletes_and_says_so(
        self, faked: Engine, fake: FakeServer, refusal: Any, why: str
    ) -> None:
        rows = reply(200, {"rows": [{"id": "a", "key": 1, "value": [["2-a", "2-b"], ["2-c"]]}]})
        done = reply(201, [{"ok": True, "id": "a", "rev": "3-x"}])
        fake.script = [COUNT, NO_ROWS, rows, refusal, done, done]
        fake.default = NO_ROWS
        output = io.StringIO()
        call_command("clearsessions", stdout=output)
        deleted = [one.body["docs"] for one in fake.requests if one.target.endswith("_bulk_docs")]
        assert [[stub["_rev"] for stub in stubs] for stubs in deleted] == [["2-b"], ["2-a"]]
        assert "0 purged, 1 deleted, 0 skipped" in output.getvalue()
        assert why in output.getvalue()

    def test_an_outage_ends_the_run_with_an_error(self, faked: Engine, fake: FakeServer) -> None:
        fake.script = [COUNT, NO_ROWS, ROWS]
        with pytest.raises(StoreUnavailable):
            faked.clear_expired()
        with pytest.raises(CommandError, match="gives no usable answer"):
            call_command("clearsessions")
