"""
Real servers for the whole run, and a namespace and a database of its own for each test.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from importlib import import_module
from typing import Any

import httpx
import pytest
from django.core.signals import setting_changed  # noqa: F401  (Django must be set up by now)

from django_distsession.backends.base import StoreBackedSession
from django_distsession.stores.abilities import Closable
from testproject.servers import CouchDBServer, MemcachedNode, couchdb_server, memcached_nodes
from tests.driving import DRIVERS, Driver, run_on
from tests.sessions import Calls, Engine, interposed

ENGINES = ("memcached", "couchdb", "hybrid")


@pytest.fixture(scope="session")
def nodes() -> Iterator[list[MemcachedNode]]:
    with memcached_nodes(3) as running:
        yield running


@pytest.fixture(scope="session")
def couchdb() -> Iterator[CouchDBServer]:
    with couchdb_server() as running:
        yield running


@pytest.fixture
def configure(settings: Any) -> Callable[..., None]:
    """
    Return a function that merges its arguments into DISTSESSION, section by section.
    """

    def change(**sections: Any) -> None:
        merged = dict(settings.DISTSESSION)
        for name, value in sections.items():
            old = merged.get(name)
            merged[name] = {**old, **value} if isinstance(value, dict) and old else value
        settings.DISTSESSION = merged

    return change


@pytest.fixture
def distsession(
    settings: Any, nodes: list[MemcachedNode], couchdb: CouchDBServer
) -> Iterator[dict[str, Any]]:
    """
    Point the settings at the servers, under a name that no other test uses.
    """
    name = f"t{uuid.uuid4().hex}"
    settings.DISTSESSION = {
        "NAMESPACE": name,
        "MEMCACHED": {"SERVERS": [node.address for node in nodes], "RETRY_AFTER": 0.05},
        "COUCHDB": {"URL": couchdb.url, "DATABASE": name, "RETRY_AFTER": 0.05},
    }
    yield settings.DISTSESSION
    httpx.delete(f"{couchdb.url}/{name}")


def engine_class(settings: Any, name: str) -> type[StoreBackedSession]:
    settings.SESSION_ENGINE = f"django_distsession.backends.{name}"
    store: type[StoreBackedSession] = import_module(settings.SESSION_ENGINE).SessionStore
    return store


def close_connections(session_class: type[StoreBackedSession]) -> None:
    store = session_class.get_store()
    assert isinstance(store, Closable)
    store.close()


def stored(session_class: type[StoreBackedSession], **values: Any) -> str:
    """
    Store a session and return its key.
    """
    session = session_class()
    session.update(values)
    session.save()
    assert session.session_key is not None
    return session.session_key


@pytest.fixture(params=ENGINES)
def session_class(
    request: pytest.FixtureRequest, settings: Any, distsession: dict[str, Any]
) -> type[StoreBackedSession]:
    """
    Each engine's SessionStore in turn, in use by the middleware too.
    """
    return engine_class(settings, request.param)


@pytest.fixture
def calls(session_class: Engine, monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(interposed(session_class), monkeypatch)


@pytest.fixture(params=DRIVERS)
def drive(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """
    Each way to call sessions in turn.
    """
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    driver = Driver(request.param)
    with driver.in_this_thread():
        yield driver


@pytest.fixture(params=DRIVERS[1:])
def on_loop(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """
    `asyncio.run`, on each sort of event loop in turn.
    """
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return partial(run_on, request.param)
