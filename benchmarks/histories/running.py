"""
One history: servers, links, processes, and the thread that breaks and repairs them.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.floors.couchdb import BareCouchDB
from benchmarks.histories.faults import Chooser, Excuses, Servers
from benchmarks.histories.model import Harm, Model
from benchmarks.histories.options import Options, host
from benchmarks.histories.visitors import Site, Visitor
from testproject.servers import CouchDBServer, MemcachedNode, couchdb_server, memcached_nodes
from testproject.servers.links import Link, host_and_port, through
from testproject.servers.network import Network
from testproject.servers.process import LOOPBACK
from testproject.workers import Answer, Worker, running_workers

# The repairer's, who is to know at once that a server is back.
SOON = 0.02
# What a session that hangs in a worker may take; more is a hang of the whole run.
LONGEST_REQUEST = 120.0
POLL_INTERVAL = 0.005


@dataclass(slots=True)
class Outcome:
    """
    What came of a history. refused: requests that failed and might.
    """

    requests: int
    faults: int
    refused: int
    seconds: float
    model: Model

    @property
    def line(self) -> str:
        harm = ", ".join(f"{self.model.harm[kind]} {kind}" for kind in Harm)
        return (
            f"{self.requests} requests, {self.faults} faults in {self.seconds:.0f} s: {harm}; "
            f"{self.refused} refused"
        )


def run(
    options: Options,
    couchdb: CouchDBServer | None = None,
    running: list[Worker] | None = None,
) -> Outcome:
    """
    couchdb, running: a server and processes that are running; otherwise they are started here.
    There is one process more than `options` says, which repairs.
    """
    with ExitStack() as stack:
        count = 0 if options.engine == "couchdb" else options.nodes
        nodes = stack.enter_context(memcached_nodes(count))
        if couchdb is None and options.engine != "memcached":
            couchdb = stack.enter_context(couchdb_server())
        if options.engine == "memcached":
            couchdb = None
        network = stack.enter_context(Network())
        servers = Servers(
            nodes,
            couchdb,
            [nodes_links(network, nodes) for _ in range(options.workers)],
            [couchdb_links(network, couchdb, options.urls) for _ in range(options.workers)],
        )
        if running is None:
            running = stack.enter_context(running_workers(options.workers + 1, quiet=True))
        stack.enter_context(database(couchdb, options.namespace))
        configure(running, servers, options)
        stack.enter_context(busy(options.load))
        return History(servers, running, options).run()


def nodes_links(network: Network, nodes: Sequence[MemcachedNode]) -> list[Link]:
    return [Link(network, (LOOPBACK, node.port)) for node in nodes]


def couchdb_links(network: Network, couchdb: CouchDBServer | None, urls: int) -> list[Link]:
    if couchdb is None:
        return []
    return [Link(network, host_and_port(couchdb.url)) for _ in range(urls)]


class History:
    """
    The last worker is the repairer: nothing befalls its links.
    """

    def __init__(self, servers: Servers, running: list[Worker], options: Options) -> None:
        self._options = options
        self._servers = servers
        self._site = Site(Model(), Excuses(), options.requests)
        self._visitors = [
            Visitor(number, worker, self._site, options.seed)
            for number, worker in enumerate(running)
        ]
        self._repairer = self._visitors.pop()
        self._repairing = running[-1]
        self._chooser = Chooser(
            random.Random(options.seed),
            servers,
            options.timeout,
            options.engine != "couchdb" and options.replicas == options.quorum,
            options.slow_link,
        )
        self._faults = 0

    def run(self) -> Outcome:
        site = self._site
        for _ in range(self._options.sessions):
            session = self._repairer.start()
            assert session is not None, "No session can be made, and nothing has happened yet."
            site.sessions.append(session)
        began = time.monotonic()
        threads = [threading.Thread(target=visitor.work) for visitor in self._visitors]
        for thread in threads:
            thread.start()
        try:
            self._break_and_repair(began + self._options.seconds)
        finally:
            site.stopped.set()
            for thread in threads:
                thread.join(LONGEST_REQUEST)
        assert not any(thread.is_alive() for thread in threads), "A request never ends."
        self._repairing.do("recover")
        if self._options.engine == "hybrid":
            # Whatever CouchDB has is not lost.
            self._repairing.do(
                "configure", *straight(self._servers, self._options, REVALIDATE_AFTER=0)
            )
        self._read_all(final=True)
        seconds = time.monotonic() - began
        return Outcome(site.requests, self._faults, site.refused, seconds, site.model)

    def _break_and_repair(self, over: float) -> None:
        """
        Let one fault follow the other, each as soon as all sessions were read after the last.
        """
        site = self._site
        while not site.stopped.is_set() and time.monotonic() < over:
            fault = self._chooser.next()
            self._note(fault.text)
            with site.lock:
                site.excuses.begin(fault)
            fault.begin()
            try:
                site.stopped.wait(fault.seconds)
            finally:
                fault.end()
                with site.lock:
                    site.excuses.end()
            self._note("that is over")
            self._faults += 1
            self._let_all_end()
            self._repair()

    def _note(self, text: str) -> None:
        for session in self._site.everybody():
            with self._site.lock:
                self._site.model.note(session, text)

    def _repair(self) -> None:
        self._repairing.do("recover")
        if self._options.all_recover:
            self._let_all_recover()
        self._read_all(final=self._options.engine != "hybrid")
        self._note("all sessions were read and repaired")

    def _read_all(self, *, final: bool) -> None:
        for session in self._site.everybody():
            self._repairer.look(session, final=final)

    def _let_all_end(self) -> None:
        """
        Wait for the requests that began while something was broken: they may save what they save
        on fewer replicas, after all sessions were read.
        """
        before = [visitor.visits for visitor in self._visitors]
        while any(
            visitor.visits == visits for visitor, visits in zip(self._visitors, before, strict=True)
        ):
            if self._site.stopped.wait(POLL_INTERVAL):
                return

    def _let_all_recover(self) -> None:
        self._site.calls += 1
        while any(visitor.calls < self._site.calls for visitor in self._visitors):
            if self._site.stopped.wait(POLL_INTERVAL):
                return


@contextmanager
def database(couchdb: CouchDBServer | None, name: str) -> Iterator[None]:
    """
    Remove a database when all is over.
    """
    yield
    if couchdb is not None:
        with BareCouchDB(couchdb.url) as bare:
            bare.delete(f"/{name}")


def configure(running: list[Worker], servers: Servers, options: Options) -> None:
    """
    Tell each process the same settings, but its own ways to the servers.
    """
    couchdb = servers.couchdb
    for worker, nodes, links in zip(
        running, servers.node_links, servers.couchdb_links, strict=False
    ):
        urls = [through(couchdb.url, link) for link in links] if couchdb else []
        distsession = options.settings(urls, options.retry_after)
        worker.tell("configure", options.engine, distsession, named(link.port for link in nodes))
    running[-1].tell("configure", *straight(servers, options))
    for worker in running:
        assert worker.hear() == Answer()


def straight(
    servers: Servers, options: Options, **hybrid: float
) -> tuple[str, dict[str, Any], dict[str, int]]:
    """
    Return what the repairer is told, who goes straight to all servers.
    """
    urls = [servers.couchdb.url] if servers.couchdb else []
    distsession = options.settings(urls, SOON)
    if hybrid:
        distsession["HYBRID"].update(hybrid)
    return options.engine, distsession, named(node.port for node in servers.nodes)


def named(ports: Iterable[int]) -> dict[str, int]:
    """
    Return the ports by the names of the memcached servers they lead to.
    """
    return {host(number): port for number, port in enumerate(ports)}


@contextmanager
def busy(count: int) -> Iterator[None]:
    """
    Keep the machine busy with so many processes.
    """
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(
                subprocess.Popen([sys.executable, "-IS", "-c", "while True: pass"])
            )
            stack.callback(process.kill)
        yield
