"""
What befalls servers and links, one thing at a time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from testproject.servers import CouchDBServer, MemcachedNode
from testproject.servers.links import Link

EVERYBODY = None


@dataclass(slots=True)
class Servers:
    """
    node_links: by process and node, links of its own. couchdb_links: by process, one for each URL.
    """

    nodes: Sequence[MemcachedNode]
    couchdb: CouchDBServer | None
    node_links: Sequence[Sequence[Link]]
    couchdb_links: Sequence[Sequence[Link]]


class Fault(NamedTuple):
    """
    seconds: how long it lasts. excused: who may be refused meanwhile, since no replica that it can
    reach is sure to hold the session: the number of a process, EVERYBODY; () for none.
    """

    text: str
    begin: Callable[[], None]
    end: Callable[[], None]
    seconds: float
    excused: tuple[int | None, ...] = ()


class Excuse(NamedTuple):
    who: int | None
    begin: float
    end: float


@dataclass(slots=True)
class Chooser:
    """
    timeout: that of the servers, in seconds. needs_all: whether every replica is needed.
    """

    choose: random.Random
    servers: Servers
    timeout: float
    needs_all: bool
    slow_link: bool

    def next(self) -> Fault:
        if self.slow_link:
            return self._slow_link_and_restart()
        kinds: list[Callable[[], Fault]] = []
        if self.servers.nodes:
            kinds += [self._restart] * 3 + [self._hang] * 3 + [self._node_link] * 4
        if any(self.servers.couchdb_links):
            kinds += [self._couchdb_link] * 2
        if self.servers.couchdb is not None and self.servers.couchdb.can_fail:
            kinds += [self._couchdb]
        return self.choose.choice(kinds)()

    def _restart(self) -> Fault:
        number = self._node()
        begin, end = self._death(number)
        seconds = self.choose.choice([0.0, 0.05, 0.2])
        return Fault(f"node {number} is killed", begin, end, seconds, self._if_all_are_needed())

    def _hang(self) -> Fault:
        number = self._node()
        node = self.servers.nodes[number]
        excused = self._if_all_are_needed()
        return Fault(f"node {number} hangs", node.pause, node.resume, self._while(), excused)

    def _node_link(self) -> Fault:
        process = self.choose.randrange(len(self.servers.node_links))
        number = self._node()
        return self._broken(process, number, self.servers.node_links[process][number], "node")

    def _couchdb_link(self) -> Fault:
        process = self.choose.randrange(len(self.servers.couchdb_links))
        links = self.servers.couchdb_links[process]
        number = self.choose.randrange(len(links))
        fault = self._broken(process, number, links[number], "CouchDB")
        return fault if len(links) > 1 else fault._replace(excused=(process,))

    def _broken(self, process: int, number: int, link: Link, server: str) -> Fault:
        slowly = self.timeout * self.choose.choice([0.1, 0.3, 0.8])
        begin, text = self.choose.choice(
            [
                (link.refuse, "refuses"),
                (link.cut, "is cut"),
                (link.reset, "resets"),
                (lambda: link.slow_down(slowly), f"takes {slowly:.2f} s each way"),
            ]
        )
        excused = (process,) if self.needs_all else ()
        text = f"the link from process {process} to {server} {number} {text}"
        return Fault(text, begin, link.mend, self._while(), excused)

    def _couchdb(self) -> Fault:
        couchdb = self.servers.couchdb
        assert couchdb is not None
        if self.choose.random() < 0.7:
            text, begin, end = "CouchDB hangs", couchdb.pause, couchdb.resume
        else:
            text, begin, end = "CouchDB is killed", couchdb.kill, couchdb.start
        return Fault(text, begin, end, self._while(), (EVERYBODY,))

    def _slow_link_and_restart(self) -> Fault:
        process = self.choose.randrange(len(self.servers.node_links))
        slow, empty = self.choose.sample(range(len(self.servers.nodes)), 2)
        link = self.servers.node_links[process][slow]
        slowly = self.timeout * self.choose.choice([0.3, 0.6, 1.2])
        die, start = self._death(empty)

        def begin() -> None:
            link.slow_down(slowly)
            die()
            start()

        text = (
            f"the link from process {process} to node {slow} takes {slowly:.2f} s each way, "
            f"and node {empty} restarts"
        )
        return Fault(text, begin, link.mend, 2 * self.timeout, (process,))

    def _death(self, number: int) -> tuple[Callable[[], None], Callable[[], None]]:
        node = self.servers.nodes[number]
        links = [links[number] for links in self.servers.node_links]

        def begin() -> None:
            # Where nobody listens, connections are refused.
            for link in links:
                link.refuse()
            node.kill()

        def end() -> None:
            node.start()
            for link in links:
                link.mend()

        return begin, end

    def _node(self) -> int:
        return self.choose.randrange(len(self.servers.nodes))

    def _while(self) -> float:
        return self.choose.choice([0.02, 0.1, 0.3, 1.5 * self.timeout])

    def _if_all_are_needed(self) -> tuple[int | None, ...]:
        return (EVERYBODY,) if self.needs_all else ()


@dataclass(slots=True)
class Excuses:
    """
    When who may be refused.
    """

    current: list[tuple[int | None, float]] = field(default_factory=list)
    past: list[Excuse] = field(default_factory=list)

    def begin(self, fault: Fault) -> None:
        self.current = [(who, time.monotonic()) for who in fault.excused]

    def end(self) -> None:
        over = time.monotonic()
        self.past += [Excuse(who, began, over) for who, began in self.current]
        self.current = []

    def cover(self, process: int, began: float) -> bool:
        """
        Whether a request that began then, and just ended, may have been refused.
        """
        whom = (process, EVERYBODY)
        if any(who in whom for who, _ in self.current):
            return True
        return any(excuse.who in whom and excuse.end > began for excuse in self.past[-20:])
