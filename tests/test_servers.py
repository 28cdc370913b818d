"""
The servers that all other tests rely on do what they say.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest

from testproject.servers import (
    CouchDBServer,
    MemcachedNode,
    ServerUnavailable,
    couchdb_server,
    memcached_nodes,
)
from testproject.servers import couchdb as couchdb_choice
from testproject.servers import process as server_process
from testproject.servers.apache_couchdb import ApacheCouchDB
from testproject.servers.couchdb_api import LocalCouchDB
from testproject.servers.external_couchdb import ExternalCouchDB
from testproject.servers.pouchdb import PouchDBServer

ROOT = Path(__file__).resolve().parent.parent
# Long enough for any machine: only a failing test waits this long.
PATIENCE = 30.0


@pytest.fixture
def node() -> Iterator[MemcachedNode]:
    with MemcachedNode() as node:
        yield node


@pytest.fixture(scope="module")
def couchdb() -> Iterator[LocalCouchDB]:
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv(couchdb_choice.URL_VARIABLE, raising=False)
        server = couchdb_server()
    assert isinstance(server, LocalCouchDB)
    with server:
        yield server


class Memcached:
    """
    One connection to a node.
    """

    def __init__(self, node: MemcachedNode) -> None:
        self.socket = socket.create_connection(("127.0.0.1", node.port), PATIENCE)
        self.replies = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.replies.close()
        self.socket.close()

    def send(self, line: bytes) -> None:
        self.socket.sendall(line + b"\r\n")

    def ask(self, line: bytes) -> bytes:
        self.send(line)
        return self.reply()

    def reply(self) -> bytes:
        return self.replies.readline().rstrip(b"\r\n")


def ask(node: MemcachedNode, line: bytes) -> bytes:
    with Memcached(node) as connection:
        return connection.ask(line)


def request(server: CouchDBServer, method: str, path: str, body: object = None) -> tuple[int, str]:
    parts = urlsplit(server.url)
    credentials = b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def is_paused(pid: int) -> bool:
    # The state follows the name, which is in brackets and may hold anything.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def wait_until_gone(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([process], [], [], PATIENCE)
    finally:
        os.close(process)
    assert ready, f"process {pid} is still there"


def refuses_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class TestMemcachedNode:
    def test_started_node_answers(self, node):
        assert node.is_running
        assert node.address == f"127.0.0.1:{node.port}"
        assert ask(node, b"version").startswith(b"VERSION")

    def test_options_reach_memcached(self):
        with MemcachedNode(["-m", "17"]) as node, Memcached(node) as connection:
            connection.send(b"stats settings")
            settings = iter(connection.reply, b"END")
            assert b"STAT maxbytes %d" % (17 << 20) in settings

    def test_port_can_be_chosen(self):
        port = server_process.free_port()
        with MemcachedNode(port=port) as node:
            assert node.port == port
            assert ask(node, b"version").startswith(b"VERSION")

    def test_starting_twice_is_refused(self, node):
        with pytest.raises(RuntimeError, match="already running"):
            node.start()

        assert ask(node, b"version").startswith(b"VERSION")

    def test_stopped_node_refuses_connections(self, node):
        pid = node.pid

        node.stop()

        assert not node.is_running
        assert refuses_connections(node.port)
        wait_until_gone(pid)

    def test_stopping_twice_is_harmless(self, node):
        node.stop()
        node.stop()

    def test_paused_node_answers_once_resumed(self, node):
        with Memcached(node) as connection:
            node.pause()
            assert node.is_running
            assert is_paused(node.pid)
            connection.send(b"version")

            node.resume()

            assert not is_paused(node.pid)
            assert connection.reply().startswith(b"VERSION")

    def test_node_can_be_paused_again_and_again(self, node):
        for _ in range(3):
            node.pause()
            assert is_paused(node.pid)
            node.resume()

    def test_node_that_is_down_cannot_be_paused_or_resumed(self, node):
        node.stop()

        with pytest.raises(RuntimeError, match="not running"):
            node.pause()
        with pytest.raises(RuntimeError, match="not running"):
            node.resume()

    @pytest.mark.parametrize("end", ["stop", "kill"])
    def test_paused_node_can_be_ended(self, node, end):
        pid = node.pid
        node.pause()

        getattr(node, end)()

        assert not node.is_running
        wait_until_gone(pid)

    @pytest.mark.parametrize("how", ["restart", "kill"])
    def test_node_returns_empty_on_its_port(self, node, how):
        with Memcached(node) as connection:
            connection.send(b"set key 0 0 5")
            assert connection.ask(b"value") == b"STORED"
        port, pid = node.port, node.pid

        if how == "restart":
            node.restart()
        else:
            node.kill()
            node.start()

        assert (node.port, node.pid != pid) == (port, True)
        assert ask(node, b"get key") == b"END"

    def test_each_of_several_nodes_is_another_process(self):
        with memcached_nodes(3) as nodes:
            assert len({node.address for node in nodes}) == 3
            assert len({node.pid for node in nodes}) == 3
        assert not any(node.is_running for node in nodes)

    def test_port_taken_meanwhile_is_replaced(self, node, monkeypatch):
        ports = iter([node.port, server_process.free_port()])
        monkeypatch.setattr(server_process, "free_port", lambda: next(ports))

        with MemcachedNode() as other:
            assert other.port != node.port
            assert ask(other, b"version").startswith(b"VERSION")

    def test_chosen_port_is_never_replaced(self, node):
        other = MemcachedNode(port=node.port)

        with pytest.raises(ServerUnavailable, match="in use"):
            other.start()
        other.close()

        assert other.port == node.port
        assert not other.is_running

    def test_failure_tells_the_last_words(self):
        node = MemcachedNode(["--no-such-option"])

        with pytest.raises(ServerUnavailable, match="no-such-option"):
            node.start()
        node.close()

    def test_missing_memcached_says_how_to_install_it(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        node = MemcachedNode()

        with pytest.raises(ServerUnavailable, match="apt-get install memcached"):
            node.start()
        node.close()

    def test_node_survives_the_thread_that_started_it(self):
        node = MemcachedNode()
        starter = threading.Thread(target=node.start)
        starter.start()
        starter.join()

        with Memcached(node) as connection:
            # The kernel would have signalled when the thread ended, before `join` returned.
            assert connection.ask(b"version").startswith(b"VERSION")
            assert connection.ask(b"version").startswith(b"VERSION")
        node.close()


class TestLocalCouchDB:
    def test_url_is_an_admins_and_public_url_is_nobodys(self, couchdb):
        assert request(couchdb, "PUT", "/made-by-admin")[0] == 201
        assert couchdb.password not in couchdb.public_url
        assert couchdb.url == couchdb.public_url.replace("//", f"//admin:{couchdb.password}@")

    def test_can_fail(self, couchdb):
        assert couchdb.can_fail

    @pytest.mark.parametrize("how", ["restart", "kill"])
    def test_documents_survive(self, couchdb, how):
        port, pid = couchdb.port, couchdb.pid
        assert request(couchdb, "PUT", f"/survives-{how}")[0] == 201
        assert request(couchdb, "PUT", f"/survives-{how}/doc", {"kept": True})[0] == 201

        if how == "restart":
            couchdb.restart()
        else:
            couchdb.kill()
            couchdb.start()

        assert (couchdb.port, couchdb.pid != pid) == (port, True)
        status, document = request(couchdb, "GET", f"/survives-{how}/doc")
        assert (status, json.loads(document)["kept"]) == (200, True)

    def test_paused_server_answers_once_resumed(self, couchdb):
        couchdb.pause()
        assert is_paused(couchdb.pid)

        couchdb.resume()

        assert request(couchdb, "GET", "/")[0] == 200

    def test_user_database_is_there(self, couchdb):
        assert request(couchdb, "GET", "/_users")[0] == 200


class TestExternalCouchDB:
    def test_is_used_where_the_environment_names_one(self, couchdb, monkeypatch):
        monkeypatch.setenv(couchdb_choice.URL_VARIABLE, couchdb.url)

        with couchdb_server() as external:
            assert external.url == couchdb.url
            assert external.public_url == couchdb.public_url
            assert not external.can_fail

        assert couchdb.is_running

    @pytest.mark.parametrize("breaking", ["stop", "pause", "resume", "kill", "restart"])
    def test_cannot_be_broken(self, breaking):
        server = ExternalCouchDB("http://admin:secret@couchdb.example:5984")

        with pytest.raises(RuntimeError, match="not ours") as refusal:
            getattr(server, breaking)()

        assert "secret" not in str(refusal.value)

    def test_silence_is_reported_without_credentials(self):
        server = ExternalCouchDB(f"http://admin:secret@127.0.0.1:{server_process.free_port()}")

        with pytest.raises(ServerUnavailable, match="DISTSESSION_TEST_COUCHDB_URL") as failure:
            server.start()

        assert "secret" not in str(failure.value)


class TestChoiceOfCouchDB:
    @pytest.fixture(autouse=True)
    def _nothing_at_hand(self, monkeypatch, tmp_path):
        monkeypatch.delenv(couchdb_choice.URL_VARIABLE, raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))

    def test_apache_couchdb_on_path(self, tmp_path):
        program = tmp_path / "couchdb"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)

        server = couchdb_server()

        assert isinstance(server, ApacheCouchDB)
        assert server.program == program

    def test_stand_in_otherwise(self):
        assert isinstance(couchdb_server(), PouchDBServer)

    def test_nothing_installed_says_what_to_do(self):
        with pytest.raises(ServerUnavailable, match="make servers") as failure:
            couchdb_server().start()

        assert "DISTSESSION_TEST_COUCHDB_URL" in str(failure.value)


class TestApacheCouchDB:
    """
    What is asked of Apache CouchDB, on machines without it too.
    """

    def test_settings_keep_it_alone_and_on_loopback(self, tmp_path):
        server = ApacheCouchDB(str(tmp_path / "bin" / "couchdb"))

        command = server.command(tmp_path)

        assert command[-2:] == ["-couch_ini", str(tmp_path / "couchdb.ini")]
        assert "-start_epmd" in command
        settings = (tmp_path / "couchdb.ini").read_text()
        for line in (
            "single_node = true",
            "bind_address = 127.0.0.1",
            f"port = {server.port}",
            f"uuid = {server.uuid}",
            f"admin = {server.password}",
            f"database_dir = {tmp_path / 'data'}",
        ):
            assert line in settings.splitlines()

    def test_defaults_of_the_installation_come_first(self, tmp_path):
        defaults = tmp_path / "etc" / "default.ini"
        defaults.parent.mkdir()
        defaults.touch()

        command = ApacheCouchDB(str(tmp_path / "bin" / "couchdb")).command(tmp_path)

        assert command[-2:] == [str(defaults), str(tmp_path / "couchdb.ini")]


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
