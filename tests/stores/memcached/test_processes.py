"""
Under the servers that people run: processes forked with connections open, and greenlets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from testproject.servers import MemcachedNode
from testproject.servers.process import ServerProcess

from .conftest import contents, store_of, stored
from .workers import ROOT


class Gunicorn(ServerProcess):
    """
    Several workers of `forking_site`, forked from a master that used its sessions.
    """

    name = "gunicorn"

    def __init__(self, nodes: list[MemcachedNode]) -> None:
        super().__init__()
        self.namespace = f"t{uuid.uuid4().hex}"
        self.servers = ",".join(node.address for node in nodes)

    def command(self, folder: Path) -> list[str]:
        return [
            "env",
            f"SESSIONS_NAMESPACE={self.namespace}",
            f"SESSIONS_SERVERS={self.servers}",
            f"PYTHONPATH={ROOT}",
            sys.executable,
            *("-m", "gunicorn", "--preload", "--no-control-socket"),
            *("--workers", "3", "--threads", "4", "--bind", self.address),
            "tests.stores.memcached.forking_site:application",
        ]

    def answers(self) -> bool:
        try:
            return bool(self.get("/preloaded"))
        except OSError:
            return False

    def get(self, path: str) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == 200
            return json.loads(response.read())
        finally:
            connection.close()


@pytest.fixture
def gunicorn(nodes: list[MemcachedNode]) -> Iterator[Gunicorn]:
    with Gunicorn(nodes) as server:
        yield server


def test_workers_forked_by_gunicorn_share_no_connection(gunicorn: Gunicorn) -> None:
    keys = [gunicorn.get(f"/new?{number}") for number in range(8)]
    preloaded = gunicorn.get("/preloaded")

    def visit(number: int) -> set[int]:
        pids = set()
        for turn in range(20):
            session = gunicorn.get(f"/{keys[number]}?turn{turn}")
            assert session["user"] == str(number)
            pids.add(session[f"turn{turn}"])
            assert gunicorn.get(f"/{preloaded}?u{number}")["made by"] == "master"
        return pids

    with ThreadPoolExecutor(8) as pool:
        pids = set().union(*pool.map(visit, range(8)))
    assert len(pids) > 1, "One worker did it all, which proves nothing."
    session = gunicorn.get(f"/{preloaded}?last")
    assert {f"u{number}" for number in range(8)} <= session.keys()


def test_a_forked_child_leaves_its_parents_connections_alone(
    use: Any, nodes: list[MemcachedNode]
) -> None:
    sessions = use(nodes[:2])
    key = stored(sessions, a=1)
    connections = [node.pool._idle[0] for node in store_of(sessions).nodes]
    opaques = [connection._opaque for connection in connections]
    with warnings.catch_warnings():
        # Python warns of threads, which other tests may have left; the child starts none.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        # Whatever happens here, the child must not go on with the tests.
        try:
            fresh = all(not node.pool._idle for node in store_of(sessions).nodes)
            os._exit(0 if fresh and contents(sessions, key) == {"a": 1} else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert [connection._opaque for connection in connections] == opaques
    assert all(connection.is_fresh for connection in connections)
    assert contents(sessions, key) == {"a": 1}


def test_greenlets_that_time_out_see_nothing_of_each_other(nodes: list[MemcachedNode]) -> None:
    done = subprocess.run(
        [
            sys.executable,
            *("-m", "tests.stores.memcached.greenlets", f"t{uuid.uuid4().hex}"),
            *(node.address for node in nodes[:2]),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"wrong": 0, "up": True}
