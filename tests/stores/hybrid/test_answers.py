"""
A CouchDB that answers, but only that it cannot: for the hybrid engine as good as gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_distsession.backends.couchdb import CouchDBSession
from django_distsession.exceptions import SessionContended, StoreMisconfigured, StoreUnavailable
from django_distsession.stores.couchdb import ending
from django_distsession.stores.hybrid import HybridStore
from tests.conftest import engine_class
from tests.stores.couchdb.fake import FakeServer, Request, reply

MADE = reply(201, {"ok": True, "rev": "1-a"})


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture(params=[429, 500, 502, 503, 504])
def refusal(request: pytest.FixtureRequest) -> int:
    status: int = request.param
    return status


@pytest.fixture
def key(
    settings: Any,
    distsession: dict[str, Any],
    configure: Callable[..., None],
    fake: FakeServer,
    refusal: int,
) -> str:
    """
    The key of a session that both tiers have, whose CouchDB then refuses everything.
    """
    configure(COUCHDB={"URL": fake.url, "RETRY_AFTER": 1000}, HYBRID={"REVALIDATE_AFTER": 0})
    session = engine_class(settings, "hybrid")()
    session["a"] = 1
    fake.default = MADE
    session.save()
    fake.default = reply(refusal, {"error": "refused", "reason": "for the test"})
    return session.session_key or ""


def engine(settings: Any) -> type[CouchDBSession]:
    found = engine_class(settings, "hybrid")
    assert issubclass(found, CouchDBSession)
    return found


def test_what_memcached_holds_is_read_past_its_time(
    settings: Any, fake: FakeServer, key: str
) -> None:
    sessions = engine(settings)
    asked = len(fake.requests)
    assert dict(sessions(key).items()) == {"a": 1}
    assert len(fake.requests) > asked, "past REVALIDATE_AFTER, CouchDB should have been asked"
    assert dict(sessions(key).items()) == {"a": 1}


def test_writes_are_refused_and_may_be_repeated(settings: Any, fake: FakeServer, key: str) -> None:
    sessions = engine(settings)
    session = sessions(key)
    session["b"] = 2
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            session.save()
    assert dict(sessions(key).items()) == {"a": 1}
    fake.default = MADE
    session.save()
    assert dict(sessions(key).items()) == {"a": 1, "b": 2}


def test_writes_go_to_memcached_where_a_site_wants_that(
    settings: Any, configure: Callable[..., None], fake: FakeServer, key: str
) -> None:
    configure(HYBRID={"WRITES": "either"})
    sessions = engine(settings)
    session = sessions(key)
    session["b"] = 2
    session.save()
    assert dict(sessions(key).items()) == {"a": 1, "b": 2}
    store = sessions.get_store()
    assert isinstance(store, HybridStore)
    assert store.status()[0]["taken_unsynced"] == 1


@pytest.fixture
def sessions(
    settings: Any, distsession: dict[str, Any], configure: Callable[..., None], fake: FakeServer
) -> type[CouchDBSession]:
    """
    The engine on a CouchDB that takes everything, and is asked at each read.
    """
    configure(
        COUCHDB={"URL": fake.url, "RETRY_AFTER": 1000, "TIMEOUT": 0.3},
        HYBRID={"REVALIDATE_AFTER": 0},
    )
    fake.default = MADE
    return engine(settings)


def stored(sessions: type[CouchDBSession]) -> str:
    session = sessions()
    session["a"] = 1
    session.save()
    return session.session_key or ""


@pytest.mark.parametrize("is_hung", [True, False])
def test_once_couchdb_is_known_to_be_away_nobody_who_has_a_copy_waits_for_it(
    sessions: type[CouchDBSession],
    fake: FakeServer,
    is_hung: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = stored(sessions)
    if is_hung:
        fake.default = fake.hang
    else:
        fake.__exit__()
    assert dict(sessions(key).items()) == {"a": 1}
    assert sessions.get_store().is_down()  # type: ignore[attr-defined]

    def asked(*args: object, **kwargs: object) -> Any:
        raise AssertionError("CouchDB was asked")

    store: Any = sessions.get_store()
    monkeypatch.setattr(store._durable_gens, "get_gen", asked)
    for _ in range(3):
        assert dict(sessions(key).items()) == {"a": 1}


def test_a_session_that_cannot_be_ended_stops_nobody_elses_saves(
    sessions: type[CouchDBSession], fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "END_SECONDS", 0.0)
    other = sessions(stored(sessions))
    fought_for = stored(sessions)
    document = fake.requests[-1].body

    def keeps_changing(connection: Any, request: Request) -> bool:
        if request.method == "GET":
            return reply(200, {**document, "_rev": "2-a"})(connection, request)
        return reply(409, {"error": "conflict", "reason": "for the test"})(connection, request)

    fake.default = keeps_changing
    with pytest.raises(SessionContended):
        sessions(fought_for).flush()
    fake.default = MADE
    for number in range(12):
        other["b"] = number
        other.save()
    assert dict(sessions(other.session_key).items()) == {"a": 1, "b": 11}


def test_a_missing_right_that_an_index_needs_stops_nobodys_saves(
    sessions: type[CouchDBSession], fake: FakeServer
) -> None:
    session = sessions(stored(sessions))
    fake.default = reply(403, {"error": "forbidden", "reason": "for the test"})
    with pytest.raises(StoreMisconfigured):
        sessions.for_user(1)
    fake.default = MADE
    session["b"] = 1
    session.save()
    assert not sessions.get_store().is_down()  # type: ignore[attr-defined]
