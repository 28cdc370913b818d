"""
The public tests of the contract, run against each store: real servers, behind links that break.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

import httpx
import pytest
from django.test import override_settings

from django_distsession import conf
from django_distsession.backends.couchdb import SessionStore as CouchDBEngine
from django_distsession.backends.hybrid import SessionStore as HybridEngine
from django_distsession.backends.memcached import SessionStore as MemcachedEngine
from django_distsession.clock import SYSTEM_CLOCK
from django_distsession.stores.contract import Store
from django_distsession.testing import StoreContract, merge
from django_distsession.testing.kit.base import Fault
from testproject.servers import MemcachedNode
from testproject.servers.links import Link, host_and_port, through
from testproject.servers.network import Network
from testproject.servers.process import LOOPBACK
from tests.stores.manual_clock import ManualClock
from tests.stores.unreliable import UnreliableStore

SOON = {"RETRY_AFTER": 0.05}

# What an engine hands to its store, for records that are no sessions.
RECORDS: Any = SimpleNamespace(merge=merge, codec=SimpleNamespace(is_json=False))


class TestMemoryStore(StoreContract):
    # Far in the past, so whatever goes by another one shows.
    clock = ManualClock().clock

    @pytest.fixture
    def store(self) -> UnreliableStore:
        return UnreliableStore(clock=self.clock)

    @pytest.fixture
    def outage(self, store: UnreliableStore) -> Fault:
        return store.outage

    @pytest.fixture
    def lost_replies(self, store: UnreliableStore) -> Fault:
        return store.lost_replies


class Servers:
    """
    Real servers, each behind a link of its own, and one store on them.
    """

    def __init__(self, stack: ExitStack, request: pytest.FixtureRequest) -> None:
        self._network = stack.enter_context(Network())
        self._links: list[Link] = []
        kind: type[OnServers] = request.cls
        name = f"t{uuid.uuid4().hex}"
        sections: dict[str, Any] = {"NAMESPACE": name}
        if "MEMCACHED" in kind.engine.needed_settings:
            nodes: list[MemcachedNode] = request.getfixturevalue("nodes")
            servers = [self._link(LOOPBACK, node.port).address for node in nodes]
            sections["MEMCACHED"] = {"SERVERS": servers, "REPLICAS": kind.replicas, **SOON}
        if "COUCHDB" in kind.engine.needed_settings:
            url = request.getfixturevalue("couchdb").url
            stack.callback(httpx.delete, f"{url}/{name}")
            sections["COUCHDB"] = {
                "URL": through(url, self._link(*host_and_port(url))),
                "DATABASE": name,
                **SOON,
            }
        path = kind.engine.__module__
        with override_settings(SESSION_ENGINE=path, DISTSESSION=sections):
            runtime: Any = SimpleNamespace(
                settings=conf.get(), records=RECORDS, clock=SYSTEM_CLOCK, tell=None
            )
            self.store: Any = kind.engine.make_store(runtime)
        stack.callback(self.store.close)

    @contextmanager
    def outage(self) -> Iterator[None]:
        for link in self._links:
            link.refuse()
        yield
        self._mend()

    @contextmanager
    def lost_replies(self) -> Iterator[None]:
        for link in self._links:
            link.lose_replies()
        yield
        self._mend()

    def _mend(self) -> None:
        for link in self._links:
            link.mend()

    def _link(self, host: str, port: int) -> Link:
        self._links.append(Link(self._network, (host, port)))
        return self._links[-1]


@pytest.fixture(scope="class")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, request)


class OnServers(StoreContract):
    engine: ClassVar[Any]
    replicas = 2

    @pytest.fixture
    def store(self, servers: Servers) -> Store:
        store: Store = servers.store
        return store

    @pytest.fixture
    def outage(self, servers: Servers) -> Fault:
        return servers.outage

    @pytest.fixture
    def lost_replies(self, servers: Servers) -> Fault:
        return servers.lost_replies


class TestMemcachedStore(OnServers):
    engine = MemcachedEngine
    replicas = 1
    too_large = 2**20


class TestTwoReplicas(TestMemcachedStore):
    replicas = 2
    has_one_copy = False


class TestThreeReplicas(TestMemcachedStore):
    replicas = 3
    has_one_copy = False


class TestCouchDBStore(OnServers):
    engine = CouchDBEngine


class TestHybridStore(OnServers):
    engine = HybridEngine
