"""
Several web processes at once, and a count of what went wrong for their users.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from testproject.servers import CouchDBServer, MemcachedNode

ROOT = Path(__file__).resolve().parents[3]


class Worker:
    """
    One process. `failed` counts its requests that raised.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.failed: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.memcached.worker", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, *operation: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(operation) + "\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        assert self.process.stdout is not None
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            self.failed.append(answer["error"])
        return answer.get("result")

    def __call__(self, *operation: Any) -> Any:
        self.tell(*operation)
        return self.hear()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def workers(
    count: int,
    nodes: Sequence[MemcachedNode],
    replicas: int,
    quorum: int,
    couchdb: CouchDBServer | None = None,
) -> Iterator[list[Worker]]:
    """
    Start processes with the memcached engine, or with the hybrid engine where there is a CouchDB.
    """
    name = f"t{uuid.uuid4().hex}"
    arguments = [couchdb.url if couchdb else "-", name, str(replicas), str(quorum)]
    arguments += [node.address for node in nodes]
    running: list[Worker] = []
    try:
        running += [Worker(arguments) for _ in range(count)]
        yield running
    finally:
        for worker in running:
            worker.close()
        if couchdb:
            httpx.delete(f"{couchdb.url}/{name}")


@dataclass
class Users:
    """
    Users with a session each, served by several processes, and what each of them must see.
    """

    workers: list[Worker]
    expected: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    turn: int = 0
    lost: int = 0
    stale: int = 0
    resurrected: int = 0

    def _next(self, group: Sequence[Worker] | None) -> Worker:
        group = group or self.workers
        self.turn += 1
        return group[self.turn % len(group)]

    def arrive(self, count: int) -> None:
        for number in range(count):
            key = self._next(None)("create", {"user": number})
            if key:
                self.expected[key] = {"user": number}

    def change(self, group: Sequence[Worker] | None = None) -> None:
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

    def log_out(self, count: int, group: Sequence[Worker] | None = None) -> None:
        for key in list(self.expected)[:count]:
            failed = self.failed
            self._next(group)("flush", key)
            if self.failed == failed:
                del self.expected[key]
                self.ended.add(key)

    def look(self, group: Sequence[Worker] | None = None) -> None:
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
