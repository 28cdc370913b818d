"""
Nodes that a test may hang, kill and restart, and stores on them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from django_distsession.backends.memcached import SessionStore
from django_distsession.clock import SYSTEM_CLOCK
from django_distsession.stores.memcached import MemcachedStore
from django_distsession.stores.memcached.connection import Connection
from django_distsession.stores.memcached.exchange import Exchange
from django_distsession.stores.memcached.node import Node
from django_distsession.stores.memcached.protocol import Reply
from testproject.servers import MemcachedNode, memcached_nodes

# Seconds within which a server answers.
SOON = 10.0


def soon() -> float:
    """
    Return when whatever begins now is over.
    """
    return SYSTEM_CLOCK.monotonic() + SOON


@pytest.fixture
def trio() -> Iterator[list[MemcachedNode]]:
    """
    Three nodes of this test's own.
    """
    with memcached_nodes(3) as running:
        yield running


@pytest.fixture
def use(settings: Any) -> Callable[..., type[SessionStore]]:
    """
    Return a function that points the memcached engine at servers and returns its class.
    """
    namespace = f"t{uuid.uuid4().hex}"

    def change(servers: list[MemcachedNode] | list[str], **options: Any) -> type[SessionStore]:
        settings.SESSION_ENGINE = "django_distsession.backends.memcached"
        addresses = [one if isinstance(one, str) else one.address for one in servers]
        settings.DISTSESSION = {
            "NAMESPACE": namespace,
            # A time-out that a busy machine runs into would be a fault more than the test is about.
            "MEMCACHED": {"SERVERS": addresses, "RETRY_AFTER": 0.02, "TIMEOUT": 1.0, **options},
        }
        return SessionStore

    return change


def store_of(sessions: type[SessionStore]) -> MemcachedStore:
    store = sessions.get_store()
    assert isinstance(store, MemcachedStore)
    return store


def stored(sessions: type[SessionStore], **values: Any) -> str:
    session = sessions()
    session.update(values)
    session.save()
    assert session.session_key is not None
    return session.session_key


def contents(sessions: type[SessionStore], key: str) -> dict[str, Any]:
    return dict(sessions(key).items())


def copies(sessions: type[SessionStore], key: str) -> dict[str, str]:
    """
    What each server holds of a session.
    """
    return {
        copy.place: copy.condition
        for copy in store_of(sessions).inspect(sessions.storage_id(key) or "")
    }


def holders(
    sessions: type[SessionStore], key: str, nodes: list[MemcachedNode]
) -> list[MemcachedNode]:
    """
    Return the nodes that are this session's replicas.
    """
    about = store_of(sessions).inspect(sessions.storage_id(key) or "")
    names = [copy.place for copy in about if copy.replica]
    return [node for node in nodes if node.address in names]


def ask(
    sessions: type[SessionStore], key: str, server: str, command: bytes, body: bytes = b""
) -> Reply:
    """
    Send one server a command about a session, past the engine. `%b` stands for what it is filed
    under there.
    """
    store = store_of(sessions)
    name = store._replica_set(sessions.storage_id(key) or "").key
    (node,) = [node for node in store.nodes if node.name == server]
    reply: Reply | None
    (reply,) = Exchange(name, [(node, command % name)], soon(), body).perform()
    assert reply is not None
    return reply


@contextmanager
def out_of_reach(node: Node) -> Iterator[None]:
    """
    Cut one process off from a server, which is there for all others.
    """

    def cut_off() -> Connection:
        raise OSError("out of reach")

    connect = node._connect
    node._connect = node.pool._connect = cut_off
    node.failed(OSError("out of reach"))
    try:
        yield
    finally:
        node._connect = node.pool._connect = connect
        node.breaker.succeeded()


def await_recovery(sessions: type[SessionStore], key: str) -> None:
    """
    Go on reading until every server that is asked counts as up. Ends by itself: a node that
    answers is probed sooner or later.
    """
    while True:
        contents(sessions, key)
        store_of(sessions).inspect(sessions.storage_id(key) or "")
        if all(server["up"] for server in sessions.status()):
            return
