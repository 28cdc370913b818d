"""
The public tests of the contract, run against each store: real servers, behind proxies that fail.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
import pytest
from django.test import override_settings

from django_distsession import conf
from django_distsession.backends.couchdb import SessionStore as CouchDBEngine
from django_distsession.backends.hybrid import SessionStore as HybridEngine
from django_distsession.backends.memcached import SessionStore as MemcachedEngine
from django_distsession.stores.contract import Store
from django_distsession.testing import Proxy, StoreContract, merge
from django_distsession.testing.kit.base import Fault
from testproject.servers import MemcachedNode
from tests.stores.unreliable import UnreliableStore

SOON = {"RETRY_AFTER": 0.05}

# What an engine hands to its store, for records that are no sessions.
RECORDS: Any = SimpleNamespace(merge=merge, codec=SimpleNamespace(is_json=False))


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> UnreliableStore:
        return UnreliableStore()

    @pytest.fixture
    def outage(self, store: UnreliableStore) -> Fault:
        return store.outage

    @pytest.fixture
    def lost_replies(self, store: UnreliableStore) -> Fault:
        return store.lost_replies


class Servers:
    """
    Real servers, each behind a proxy of its own, and one store on them.
    """

    def __init__(self, stack: ExitStack, request: pytest.FixtureRequest) -> None:
        self._stack = stack
        self._proxies: list[Proxy] = []
        kind: type[OnServers] = request.cls
        name = f"t{uuid.uuid4().hex}"
        sections: dict[str, Any] = {"NAMESPACE": name}
        if "MEMCACHED" in kind.engine.needed_settings:
            nodes: list[MemcachedNode] = request.getfixturevalue("nodes")
            servers = [self._behind_proxy(f"//{node.address}")[2:] for node in nodes]
            sections["MEMCACHED"] = {"SERVERS": servers, "REPLICAS": kind.replicas, **SOON}
        if "COUCHDB" in kind.engine.needed_settings:
            url = request.getfixturevalue("couchdb").url
            stack.callback(httpx.delete, f"{url}/{name}")
            sections["COUCHDB"] = {"URL": self._behind_proxy(url), "DATABASE": name, **SOON}
        path = kind.engine.__module__
        with override_settings(SESSION_ENGINE=path, DISTSESSION=sections):
            self.store: Any = kind.engine.make_store(conf.get(), RECORDS)
        stack.callback(self.store.close)

    def outage(self) -> AbstractContextManager[None]:
        return self._all(Proxy.outage)

    def lost_replies(self) -> AbstractContextManager[None]:
        return self._all(Proxy.lost_replies)

    @contextmanager
    def _all(self, fault: Callable[[Proxy], AbstractContextManager[None]]) -> Iterator[None]:
        with ExitStack() as stack:
            for proxy in self._proxies:
                stack.enter_context(fault(proxy))
            yield

    def _behind_proxy(self, url: str) -> str:
        parts = urlsplit(url)
        proxy = self._stack.enter_context(Proxy(parts.hostname or "", parts.port or 0))
        self._proxies.append(proxy)
        return url.replace(f":{parts.port}", f":{proxy.port}")


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
