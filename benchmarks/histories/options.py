"""
The command line.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

ENGINES = ("memcached", "couchdb", "hybrid")


@dataclass(frozen=True, slots=True)
class Options:
    """
    requests, seconds: whichever is over first ends a history. workers: processes. urls: links of
    each process to the one CouchDB. load: processes that keep the machine busy.
    all_recover: whether the next fault waits until every process knows that the last is over.
    """

    engine: str = "memcached"
    requests: int = 20_000
    seconds: float = 3600.0
    seed: int = 1
    workers: int = 3
    sessions: int = 24
    nodes: int = 3
    replicas: int = 2
    quorum: int = 1
    urls: int = 2
    timeout: float = 1.0
    couchdb_timeout: float = 2.0
    retry_after: float = 1.0
    writes: str = "couchdb"
    slow_link: bool = False
    all_recover: bool = False
    load: int = 0
    namespace: str = field(default_factory=lambda: f"t{uuid4().hex}")

    @property
    def summary(self) -> str:
        """
        What distinguishes it, in short.
        """
        parts = [self.engine]
        if self.engine != "couchdb":
            parts += [f"R={self.replicas} Q={self.quorum}", f"TIMEOUT {self.timeout}"]
        if self.engine == "hybrid":
            parts += [f"WRITES {self.writes}"]
        parts += [f"RETRY_AFTER {self.retry_after}", f"{self.workers} processes"]
        parts += ["slow links"] * self.slow_link + ["all recover"] * self.all_recover
        parts += [f"load {self.load}"] * bool(self.load) + [f"seed {self.seed}"]
        return ", ".join(parts)

    def settings(self, urls: list[str], retry_after: float) -> dict[str, Any]:
        """
        Return DISTSESSION.
        """
        distsession: dict[str, Any] = {"NAMESPACE": self.namespace}
        if self.engine != "couchdb":
            distsession["MEMCACHED"] = {
                "SERVERS": [f"{host(number)}:11211" for number in range(self.nodes)],
                "REPLICAS": self.replicas,
                "QUORUM": self.quorum,
                "TIMEOUT": self.timeout,
                "CONNECT_TIMEOUT": self.timeout,
                "RETRY_AFTER": retry_after,
            }
        if self.engine != "memcached":
            distsession["COUCHDB"] = {
                "URL": urls,
                "DATABASE": self.namespace,
                "TIMEOUT": self.couchdb_timeout,
                "RETRY_AFTER": retry_after,
            }
        if self.engine == "hybrid":
            distsession["HYBRID"] = {"WRITES": self.writes}
        return distsession


def host(node: int) -> str:
    """
    Return the name by which all processes know a memcached server.
    """
    return f"node-{node}.test"


def parse() -> tuple[Options, argparse.Namespace]:
    """
    Return the options of a history, and those of the program.
    """
    usual = Options()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.histories",
        description="Random requests to several processes under random faults, each of which "
        "begins as soon as every session was read, and so repaired, after the one before.",
    )
    add = parser.add_argument
    add("--engine", choices=ENGINES, default=usual.engine)
    add("--requests", type=int, default=usual.requests)
    add("--seconds", type=float, default=usual.seconds, help="end earlier, after so many")
    add("--seed", type=int, default=usual.seed)
    add("--workers", type=int, default=usual.workers, help="processes")
    add("--sessions", type=int, default=usual.sessions, help="at one time")
    add("--nodes", type=int, default=usual.nodes, help="memcached servers")
    add("--replicas", type=int, default=usual.replicas)
    add("--quorum", type=int, default=usual.quorum)
    add("--urls", type=int, default=usual.urls, help="links of each process to CouchDB")
    add("--timeout", type=float, default=usual.timeout, help="memcached's, in seconds")
    add("--couchdb-timeout", type=float, default=usual.couchdb_timeout)
    add("--retry-after", type=float, default=usual.retry_after)
    add("--writes", choices=("couchdb", "either"), default=usual.writes, help="of the hybrid")
    add(
        "--slow-link",
        action="store_true",
        help="always slow one process's link to one node down, and restart another node empty",
    )
    add(
        "--all-recover",
        action="store_true",
        help="let the next fault wait until every process knows that the last one is over",
    )
    add("--load", type=int, default=usual.load, metavar="N", help="busy processes beside it")
    parser.add_argument("--trace", action="store_true", help="print the first of each kind of harm")
    given = vars(parser.parse_args())
    program = argparse.Namespace(trace=given.pop("trace"))
    return Options(**given), program
