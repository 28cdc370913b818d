"""
Ending a session that others save all the time.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.backends.base import UpdateError

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import SessionContended, StoreUnavailable
from django_distsession.stores.couchdb import ending
from tests.stores.couchdb.conftest import Database, contents, storage_id, stored
from tests.stores.couchdb.fake import FakeServer, Request, reply

Engine = type[SessionStore]

SAVERS = 12


@pytest.fixture
def moving(faked: Engine, fake: FakeServer) -> Callable[[int], str]:
    """
    Return a function that makes a session whose revision moves on before each of so many writes.
    """

    def make(conflicts: int) -> str:
        fake.script = [reply(201, {"rev": "1-a"})]
        key = stored(faked, a=1)
        document = fake.requests[0].body
        left = iter(range(conflicts))
        revs = (f"{number}-a" for number in itertools.count(2))

        def answer(connection: Any, request: Request) -> bool:
            if request.method == "GET":
                return reply(200, {**document, "_rev": next(revs)})(connection, request)
            if next(left, None) is None:
                return reply(201, {"rev": "99-a"})(connection, request)
            return reply(409, {"error": "conflict", "reason": "why"})(connection, request)

        fake.default = answer
        return key

    return make


def test_it_outlasts_many_conflicts(
    faked: Engine, fake: FakeServer, moving: Callable[[int], str]
) -> None:
    key = moving(25)
    faked(key).flush()
    put = fake.requests[-1]
    assert (put.method, put.body["ended"]) == ("PUT", True)


def test_one_that_never_comes_to_rest_harms_no_other(
    faked: Engine, fake: FakeServer, moving: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "END_SECONDS", 0.05)
    key = moving(10**9)
    with pytest.raises(SessionContended, match="could not be ended"):
        faked(key).flush()
    assert all(node["up"] for node in faked.status())
    fake.default = reply(404, {"error": "not_found", "reason": "missing"})
    assert faked("b" * 32).load() == {}


def test_beside_savers_of_a_real_server(sessions: Engine, database: Database) -> None:
    key, bystander = stored(sessions), stored(sessions)
    failures: list[BaseException] = []

    def save(number: int) -> None:
        try:
            for turn in itertools.count():
                session = sessions(key)
                session[f"{number}"] = turn
                if session.session_key is None:
                    # It ended between two turns, so this would save a new one.
                    return
                session.save()
        except UpdateError:
            return
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(SAVERS)]
    for thread in threads:
        thread.start()
    sessions(key).delete()
    for thread in threads:
        thread.join()
    assert [error for error in failures if not isinstance(error, StoreUnavailable)] == []
    assert database.get(storage_id(sessions, key))["ended"]
    session = sessions(bystander)
    session["a"] = 1
    session.save()
    assert contents(sessions, bystander) == {"a": 1}
