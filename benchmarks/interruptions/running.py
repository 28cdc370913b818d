"""
Servers, links to them, and the process that is interrupted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

from benchmarks.floors.couchdb import BareCouchDB
from testproject.servers import CouchDBServer, couchdb_server, memcached_nodes
from testproject.servers.links import Link, host_and_port, through
from testproject.servers.network import Network
from testproject.servers.process import LOOPBACK
from testproject.workers import ROOT

# Of a link while places are counted: longer than a busy machine makes somebody wait by chance.
DELAY = 0.15
# What starting and counting takes beside what is asked for.
LEEWAY = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """
    exceptions: that hit a request. seconds: whichever is reached first ends it. users: threads, or
    greenlets. hang_after: the seconds after which a request never ends. delay: of the links to the
    servers, in seconds each way: the longer it is, the longer users wait for a connection.
    """

    engine: str = "memcached"
    exceptions: int = 10_000
    seconds: float = 600.0
    users: int = 24
    pool_size: int = 4
    hang_after: float = 20.0
    delay: float = 0.002
    gevent: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """
    thrown: exceptions; met: those that hit a request. hung: where requests hang. wrong: reads of
    what is another's or out of date. lost_places: of a pool, at the least. unraisable: errors in
    finalizers. errors: all others, and how many of each.
    """

    thrown: int = 0
    met: int = 0
    requests: int = 0
    hung: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lost_places: int = 0
    unraisable: list[str] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def harm(self) -> dict[str, Any]:
        """
        What must not be, if anything.
        """
        harmless = ("thrown", "met", "requests")
        return {name: it for name, it in asdict(self).items() if it and name not in harmless}


def run(options: Options, couchdb: CouchDBServer | None = None) -> Result:
    """
    couchdb: one that is running; otherwise one is started where the engine needs it.
    """
    name = f"t{uuid4().hex}"
    with ExitStack() as stack:
        distsession: dict[str, Any] = {"NAMESPACE": name}
        links: list[Link] = []
        network = stack.enter_context(Network())
        if options.engine != "couchdb":
            nodes = stack.enter_context(memcached_nodes(2))
            links = [Link(network, (LOOPBACK, node.port)) for node in nodes]
            distsession["MEMCACHED"] = {
                "SERVERS": [link.address for link in links],
                "POOL_SIZE": options.pool_size,
                # Time-outs are no matter here.
                "TIMEOUT": 5.0,
                "CONNECT_TIMEOUT": 5.0,
            }
        if options.engine != "memcached":
            if couchdb is None:
                couchdb = stack.enter_context(couchdb_server())
            stack.callback(remove, couchdb, name)
            links.append(Link(network, host_and_port(couchdb.url)))
            distsession["COUCHDB"] = {
                "URL": through(couchdb.url, links[-1]),
                "DATABASE": name,
                "POOL_SIZE": options.pool_size,
                "TIMEOUT": 10.0,
            }
        for link in links:
            link.slow_down(options.delay)
        return interrupted(options, distsession, links)


def interrupted(options: Options, distsession: dict[str, Any], links: list[Link]) -> Result:
    """
    Run the process, and let its links be slow when it asks for that.
    """
    given = {**asdict(options), "distsession": distsession, "round_trip": 2 * DELAY}
    kind = "greenlets" if options.gevent else "threads"
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.interruptions.process", kind, json.dumps(given)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        with killed_after(process, options.seconds + 2 * options.hang_after + LEEWAY):
            line = process.stdout.readline()
            if line == "slow\n":
                for link in links:
                    link.slow_down(DELAY)
                process.stdin.write("slow\n")
                process.stdin.flush()
                line = process.stdout.readline()
        if line:
            return Result(**json.loads(line))
        assert process.stderr is not None
        return Result(hung=["the whole process", *process.stderr.read().splitlines()[-5:]])


@contextmanager
def killed_after(process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def remove(couchdb: CouchDBServer, database: str) -> None:
    with BareCouchDB(couchdb.url) as bare:
        bare.delete(f"/{database}")
