"""
Several web processes at once, and a count of what went wrong for their users.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from testproject.servers import CouchDBServer, MemcachedNode
from testproject.workers import ROOT, Answer, Worker, running_workers

from .worker import settings_for

__all__ = ["ROOT", "UNHARMED", "Users", "workers"]


@dataclass
class Process:
    """
    One process. `failed` has what its requests raised.
    """

    worker: Worker
    failed: list[str] = field(default_factory=list)

    def tell(self, *operation: Any) -> None:
        self.worker.tell(*operation)

    def hear(self) -> Any:
        answer = self.worker.hear()
        if answer.error is not None:
            self.failed.append(answer.error)
        return answer.result

    def __call__(self, *operation: Any) -> Any:
        self.tell(*operation)
        return self.hear()


@contextmanager
def workers(
    count: int,
    nodes: Sequence[MemcachedNode],
    replicas: int,
    quorum: int,
    couchdb: CouchDBServer | None = None,
    *,
    is_async: bool = False,
) -> Iterator[list[Process]]:
    """
    Start processes with the memcached engine, or with the hybrid engine where there is a CouchDB.
    """
    name = f"t{uuid.uuid4().hex}"
    servers = [node.address for node in nodes]
    settings = settings_for(couchdb.url if couchdb else "-", name, replicas, quorum, servers)
    with running_workers(count) as running:
        for worker in running:
            worker.tell("configure", *settings, None, is_async)
        for worker in running:
            assert worker.hear() == Answer()
        yield [Process(worker) for worker in running]
    if couchdb:
        httpx.delete(f"{couchdb.url}/{name}")


@dataclass
class Users:
    """
    Users with a session each, served by several processes, and what each of them must see.
    """

    workers: list[Process]
    expected: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    turn: int = 0
    lost: int = 0
    stale: int = 0
    resurrected: int = 0

    def _next(self, group: Sequence[Process] | None) -> Process:
        group = group or self.workers
        self.turn += 1
        return group[self.turn % len(group)]

    def arrive(self, count: int) -> None:
        for number in range(count):
            key = self._next(None)("create", {"user": number})
            if key:
                self.expected[key] = {"user": number}

    def change(self, group: Sequence[Process] | None = None) -> None:
        """
        Every user changes a key that is there, and adds one.
        """
        for key, expected in self.expected.items():
            values = {"last": self.turn, f"k{self.turn}": self.turn}
            if self._next(group)("write", key, values) is not None:
                expected.update(values)

    def change_at_once(self) -> None:
        """
        All processes change each session at the same time, each its own key.
        """
        for key, expected in self.expected.items():
            for number, worker in enumerate(self.workers):
                worker.tell("write", key, {f"w{number}": self.turn})
            for number, worker in enumerate(self.workers):
                if worker.hear() is not None:
                    expected[f"w{number}"] = self.turn
            self.turn += 1

    def log_out(self, count: int, group: Sequence[Process] | None = None) -> None:
        for key in list(self.expected)[:count]:
            failed = self.failed
            self._next(group)("flush", key)
            if self.failed == failed:
                del self.expected[key]
                self.ended.add(key)

    def look(self, group: Sequence[Process] | None = None) -> None:
        """
        Every process looks at every session.
        """
        for key, expected in self.expected.items():
            for worker in group or self.workers:
                seen = worker("read", key)
                if seen is not None:
                    self.lost += not seen
                    self.stale += bool(seen) and seen != expected
        for key in self.ended:
            for worker in group or self.workers:
                self.resurrected += bool(worker("read", key))

    def recover(self) -> None:
        """
        Let every process find out that the servers are back, and repair what nobody reads.
        """
        for worker in self.workers:
            worker.tell("recover")
        for worker in self.workers:
            worker.hear()
        self.workers[0]("repair")

    @property
    def failed(self) -> int:
        return sum(len(worker.failed) for worker in self.workers)

    @property
    def harm(self) -> dict[str, Any]:
        """
        What users suffered. All of it is to be zero.
        """
        return {
            "lost": self.lost,
            "stale": self.stale,
            "resurrected": self.resurrected,
            "failed": [error for worker in self.workers for error in worker.failed],
        }


UNHARMED: dict[str, Any] = {"lost": 0, "stale": 0, "resurrected": 0, "failed": []}
