from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testproject.servers import couchdb as couchdb_choice

from .processes import PATIENCE, wait_until_gone

ROOT = Path(__file__).resolve().parents[2]
START_AND_TELL = """
import os, sys
from testproject.servers import MemcachedNode, couchdb_server
servers = [MemcachedNode(), MemcachedNode(), couchdb_server()]
for server in servers:
    server.start()
servers[1].pause()
print(*(server.pid for server in servers), *(server._folder for server in servers), flush=True)
"""


class TestParentEnds:
    @pytest.fixture(autouse=True)
    def _local_servers(self, monkeypatch):
        monkeypatch.delenv(couchdb_choice.URL_VARIABLE, raising=False)

    def run(self, ending: str) -> tuple[int, list[int], list[Path]]:
        parent = subprocess.run(
            [sys.executable, "-c", START_AND_TELL + ending],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        told = parent.stdout.split()
        return parent.returncode, [int(pid) for pid in told[:3]], [Path(path) for path in told[3:]]

    def test_nothing_is_left_by_a_parent_that_exits(self):
        status, pids, folders = self.run("")

        assert status == 0
        assert len(pids) == len(folders) == 3
        for pid in pids:
            wait_until_gone(pid)
        assert not any(folder.exists() for folder in folders)

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_no_process_is_left_by_a_parent_that_is_killed(self, number):
        status, pids, folders = self.run(f"os.kill(os.getpid(), {number.value})")

        assert status == -number
        assert len(pids) == 3
        for pid in pids:
            wait_until_gone(pid)
        for folder in folders:
            shutil.rmtree(folder)

    def test_fork_that_exits_leaves_the_servers_alone(self):
        check = """
if (child := os.fork()) == 0:
    sys.exit(0)
os.waitpid(child, 0)
assert all(server.is_running for server in servers), "a fork stopped its parent's servers"
assert all(server._folder.exists() for server in servers), "a fork removed their data"
"""
        status, pids, _ = self.run(check)

        assert status == 0
        assert len(pids) == 3
