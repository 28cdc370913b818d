"""
A CouchDB that answers, but only that it cannot: for the hybrid engine as good as gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_distsession.backends.couchdb import CouchDBSession
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.hybrid import HybridStore
from tests.conftest import engine_class
from tests.stores.couchdb.fake import FakeServer, reply

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
