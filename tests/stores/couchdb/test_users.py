"""
Sessions by user: who is logged in where, and "log out my other devices".
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY as USER_KEY

from django_distsession.backends.couchdb import CouchDBSession
from tests.conftest import engine_class
from tests.stores.couchdb.conftest import Database, storage_id, stored

Engine = type[CouchDBSession]

HIGH, LOW = "f" * 32, "0" * 32


@pytest.fixture(params=["couchdb", "hybrid"])
def engine(request: pytest.FixtureRequest, settings: Any, distsession: Any) -> Engine:
    return engine_class(settings, request.param)  # type: ignore[return-value]


def log_in(engine: Engine, user: int, **values: Any) -> str:
    return stored(engine, **{USER_KEY: str(user)}, **values)  # type: ignore[arg-type]


def ids(engine: Engine, user: Any) -> set[str]:
    return {session.storage_id for session in engine.for_user(user)}


def test_the_sessions_of_a_user(engine: Engine) -> None:
    start = int(time.time())
    keys = [log_in(engine, 7) for _ in range(3)]
    log_in(engine, 77)
    stored(engine)  # type: ignore[arg-type]
    found = engine.for_user(7)
    assert {one.storage_id for one in found} == {engine.storage_id(key) for key in keys}
    for one in found:
        assert start <= one.created_at <= one.updated_at <= time.time()
        assert one.expires_at > time.time() + 1000
    assert ids(engine, "7") == ids(engine, 7)
    assert engine.for_user(70) == []
    assert engine.for_user("") == []


def test_ended_and_expired_sessions_are_not_among_them(engine: Engine) -> None:
    gone, expired, live = (log_in(engine, 7) for _ in range(3))
    engine(gone).flush()
    session = engine(expired)
    session.set_expiry(-1)
    session.save()
    assert ids(engine, 7) == {engine.storage_id(live)}


def test_log_out_my_other_devices(engine: Engine) -> None:
    mine, *others = (log_in(engine, 7, n=n) for n in range(4))
    someone = log_in(engine, 8)
    assert engine.end_for_user(7, keep=mine) == 3
    assert [engine().exists(key) for key in (mine, someone, *others)] == [True] * 2 + [False] * 3
    assert ids(engine, 7) == {engine.storage_id(mine)}
    assert engine.end_for_user(7) == 1
    assert not engine().exists(mine)
    assert engine.end_for_user(7) == 0


def test_the_same_from_async_code(engine: Engine) -> None:
    mine, other = log_in(engine, 7), log_in(engine, 7)

    async def work() -> tuple[int, int]:
        before = len(await engine.afor_user(7))
        return before, await engine.aend_for_user(7, keep=mine)

    assert asyncio.run(work()) == (2, 1)
    assert not engine().exists(other)


def test_a_login_on_a_losing_branch_counts(sessions: Any, database: Database) -> None:
    key = stored(sessions, a=1)
    doc_id = storage_id(sessions, key)
    before = database.get(doc_id)
    session = sessions(key)
    session[USER_KEY] = "7"
    session.save()
    logged_in = database.get(doc_id)
    tip = database.put({**before, "_rev": logged_in["_rev"]})
    database.branch(logged_in, None, f"1-{LOW}")
    assert database.get(doc_id)["_rev"] == tip
    assert ids(sessions, 7) == {doc_id}
    assert sessions.end_for_user(7) == 1
    assert not sessions().exists(key)


def test_a_logout_on_a_losing_branch_counts(sessions: Any, database: Database) -> None:
    key = log_in(sessions, 7)
    doc_id = storage_id(sessions, key)
    before = database.get(doc_id)
    session = sessions(key)
    del session[USER_KEY]
    session.save()
    after = database.get(doc_id)
    database.put({**before, "_rev": after["_rev"]})
    database.branch(after, None, f"1-{LOW}")
    assert database.get(doc_id)["user"] == "7"
    assert ids(sessions, 7) == set()
