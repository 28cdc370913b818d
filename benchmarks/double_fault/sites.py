"""
The servers of each engine, and the ways in which they fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import uuid4

from benchmarks.floors.couchdb import BareCouchDB
from testproject.servers import CouchDBServer, MemcachedNode
from testproject.servers.base import Server
from testproject.servers.links import Link, host_and_port, through
from testproject.servers.network import Network
from testproject.servers.process import LOOPBACK

ENGINES = ("memcached", "couchdb", "hybrid")
KINDS = ("killed", "hung", "refused")
# Of the only CouchDB there is, as the first fault. The second one is a memcached server's, if any.
COUCHDB_KINDS = {"CouchDB killed": "killed", "CouchDB hung": "hung"}
CASES = [
    *((engine, kind) for engine in ENGINES for kind in KINDS),
    *((engine, kind) for engine in ("couchdb", "hybrid") for kind in COUCHDB_KINDS),
]

# Of those who are to go on believing that a server is down, and of the one who is to find out.
LATE, SOON = 60.0, 0.02


class Fault(NamedTuple):
    """
    How one server fails, and comes back.
    """

    begin: Callable[[], None]
    end: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Site:
    """
    distsession: the setting, but for RETRY_AFTER, which is no matter of the site.
    faults: of the server that fails first, and of the one that fails second.
    serves: whether users are to notice nothing even while the first one is away.
    """

    engine: str
    distsession: dict[str, Any]
    faults: Sequence[Fault]
    serves: bool

    def settings(self, retry_after: float) -> dict[str, Any]:
        return {
            name: {**value, "RETRY_AFTER": retry_after} if isinstance(value, dict) else value
            for name, value in self.distsession.items()
        }


@contextmanager
def site(
    engine: str,
    kind: str,
    nodes: Sequence[MemcachedNode],
    couchdb: CouchDBServer | None,
    timeout: float,
) -> Iterator[Site]:
    """
    nodes: three, in good order. couchdb: for the engines that have one. timeout: seconds, of every
    kind.
    """
    name = f"t{uuid4().hex}"
    distsession: dict[str, Any] = {"NAMESPACE": name}
    faults: list[Fault] = []
    with Network() as network:
        if engine != "couchdb":
            addresses, faults = memcached(network, nodes, kind)
            times = {"TIMEOUT": timeout, "CONNECT_TIMEOUT": timeout}
            distsession["MEMCACHED"] = {"SERVERS": addresses, **times}
        if engine != "memcached":
            assert couchdb is not None
            distsession["COUCHDB"] = {"URL": couchdb.url, "DATABASE": name, "TIMEOUT": timeout}
        if couchdb is not None and kind in COUCHDB_KINDS:
            faults = [failing(couchdb, COUCHDB_KINDS[kind]), *faults, NO_FAULT]
        elif couchdb is not None and engine == "couchdb":
            # One cluster, as far as processes can tell.
            links = [Link(network, host_and_port(couchdb.url)) for _ in range(2)]
            distsession["COUCHDB"]["URL"] = [through(couchdb.url, link) for link in links]
            faults = [broken_link(link, kind) for link in links]
        try:
            yield Site(engine, distsession, faults[:2], kind not in COUCHDB_KINDS)
        finally:
            if engine != "memcached" and couchdb is not None:
                with BareCouchDB(couchdb.url) as bare:
                    bare.delete(f"/{name}")


def memcached(
    network: Network, nodes: Sequence[MemcachedNode], kind: str
) -> tuple[list[str], list[Fault]]:
    """
    Return the addresses of nodes, and how each of them fails.
    """
    if kind != "refused":
        return [node.address for node in nodes], [failing(node, kind) for node in nodes]
    # With their data still there.
    links = [Link(network, (LOOPBACK, node.port)) for node in nodes]
    return [link.address for link in links], [broken_link(link, kind) for link in links]


NO_FAULT = Fault(lambda: None, lambda: None)


def failing(server: Server, kind: str) -> Fault:
    if kind == "hung":
        return Fault(server.pause, server.resume)
    # memcached comes back empty.
    return Fault(server.kill, server.start)


def broken_link(link: Link, kind: str) -> Fault:
    begin = {"killed": link.reset, "hung": link.cut, "refused": link.refuse}[kind]
    return Fault(begin, link.mend)
