"""
The servers that all contenders share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from benchmarks.floors.couchdb import BareCouchDB
from testproject.servers import CouchDBServer, MemcachedNode, couchdb_server, memcached_nodes

NODES = 3


@dataclass(frozen=True, slots=True)
class Servers:
    """
    database: the name of one that nobody else uses.
    """

    nodes: Sequence[MemcachedNode]
    couchdb: CouchDBServer
    database: str

    @property
    def addresses(self) -> list[str]:
        return [node.address for node in self.nodes]


@contextmanager
def running_servers() -> Iterator[Servers]:
    with memcached_nodes(NODES) as nodes, couchdb_server() as couchdb:
        servers = Servers(nodes, couchdb, f"benchmarks-{uuid4().hex}")
        try:
            yield servers
        finally:
            # The server may be somebody else's.
            with BareCouchDB(couchdb.url) as bare:
                bare.delete(f"/{servers.database}")
