from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from testproject.servers import CouchDBServer, MemcachedNode, memcached_nodes
from testproject.servers.apache_couchdb import ApacheCouchDB
from testproject.servers.pouchdb import PouchDBServer
from testproject.servers.process import free_port

from .browser import Browser, chromium
from .web import Gunicorn, Uvicorn, WebServer, make_user


@dataclass
class Site:
    """
    The demo site's web servers, and the stores behind them.
    """

    web_servers: Sequence[WebServer]
    nodes: Sequence[MemcachedNode]
    couchdb: CouchDBServer

    def kill_every_store(self) -> None:
        for store in (*self.nodes, self.couchdb):
            store.kill()

    def start_every_store(self) -> None:
        for store in (*self.nodes, self.couchdb):
            store.start()


def _couchdb() -> CouchDBServer:
    # One of our own in any case: it is going to be killed.
    program = shutil.which("couchdb")
    return ApacheCouchDB(program) if program else PouchDBServer()


@pytest.fixture(scope="module", params=["hybrid"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with ExitStack() as stack:
        nodes = stack.enter_context(memcached_nodes(3))
        couchdb = stack.enter_context(_couchdb())
        ports = [free_port(), free_port()]
        environment = {
            "DJANGO_SETTINGS_MODULE": "testproject.settings",
            "DISTSESSION_DEBUG": "0",
            "DISTSESSION_ENGINE": f"django_distsession.backends.{request.param}",
            "DISTSESSION_MEMCACHED": ",".join(node.address for node in nodes),
            "DISTSESSION_COUCHDB_URL": couchdb.url,
            "DISTSESSION_SECRET_KEY": "end-to-end-" * 5,
            "DISTSESSION_DEMO_DB": str(tmp_path_factory.mktemp("site") / "users.sqlite3"),
            "DISTSESSION_DEMO_PORTS": ",".join(str(port) for port in ports),
        }
        make_user(environment)
        web_servers = [
            stack.enter_context(server(environment, port))
            for server, port in zip((Gunicorn, Uvicorn), ports, strict=True)
        ]
        yield Site(web_servers, nodes, couchdb)


@pytest.fixture
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Browser]:
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    with chromium(name, tmp_path / "profile") as running:
        yield running
