"""
No report of an error shows a password, wherever the error comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_distsession.backends.base import StoreBackedSession
from tests.conftest import engine_class
from tests.stores.couchdb.fake import FakeServer

from .error_reports import ENCODED, PASSWORD, USER, leaks

KEY = "a" * 32


class Interrupted(BaseException):
    """
    As a time-out of a greenlet's or a signal handler's.
    """


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def couchdb_at(settings: Any) -> Callable[..., type[StoreBackedSession]]:
    def use(url: str, **more: Any) -> type[StoreBackedSession]:
        settings.DISTSESSION = {"COUCHDB": {"URL": url, "TIMEOUT": 0.3, **more}}
        return engine_class(settings, "couchdb")

    return use


@pytest.fixture
def memcached_at(settings: Any) -> Callable[..., type[StoreBackedSession]]:
    def use(server: str, **more: Any) -> type[StoreBackedSession]:
        login = {"USERNAME": USER, "PASSWORD": PASSWORD}
        settings.DISTSESSION = {"MEMCACHED": {"SERVERS": [server], "TIMEOUT": 0.3, **login, **more}}
        return engine_class(settings, "memcached")

    return use


def with_password(fake: FakeServer) -> str:
    return f"http://{USER}:{ENCODED}@127.0.0.1:{fake.port}"


def errors_of(*calls: Callable[[], Any]) -> list[BaseException]:
    """
    Make the calls, each of which fails.
    """
    found: list[BaseException] = []
    for call in calls:
        try:
            call()
        except BaseException as error:
            found.append(error)
        else:
            pytest.fail("It was to fail.")
    return found


def uses(sessions: type[StoreBackedSession]) -> list[Callable[[], Any]]:
    def save() -> None:
        session = sessions()
        session["a"] = 1
        session.save()

    return [sessions(KEY).load, save]


def assert_keeps_it(errors: list[BaseException]) -> None:
    assert errors
    assert [leak for error in errors for leak in leaks(error)] == []
