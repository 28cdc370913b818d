"""
The system check that asks every server.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from testproject.servers import MemcachedNode
from tests.conftest import engine_class
from tests.stores.couchdb.fake import FakeServer, reply

from .conftest import NOWHERE, reported_by_servers


@contextmanager
def memcached_of(version: bytes) -> Iterator[str]:
    """
    A server that says it is a memcached of this version.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as lines:
                    for line in lines:
                        known = line == b"version\r\n"
                        connection.sendall(b"VERSION %b\r\n" % version if known else b"END\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_nothing_is_said_of_servers_that_are_well(servers: Any) -> None:
    assert reported_by_servers() == []


def test_each_memcached_server_that_is_away_is_named(
    servers: Any, nodes: list[MemcachedNode]
) -> None:
    servers(MEMCACHED={"SERVERS": [nodes[0].address, NOWHERE, "/no/such/socket"]})
    first, second = reported_by_servers()
    assert first[0] == second[0] == "distsession.W024"
    assert first[1].startswith(f"memcached at {NOWHERE} cannot be used (ConnectionRefusedError")
    assert "memcached at /no/such/socket" in second[1]
    # Only if it was asked for.
    assert reported_by_servers([]) == []


def test_a_wrong_password_is_told_and_not_shown(servers: Any, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("me:right\n")
    with MemcachedNode(["-Y", str(passwords)]) as node:
        login = {"SERVERS": [node.address], "USERNAME": "me"}
        servers(MEMCACHED={**login, "PASSWORD": "right"})
        assert reported_by_servers() == []
        servers(MEMCACHED={**login, "PASSWORD": "hush"})
        [(code, text)] = reported_by_servers()
    assert code == "distsession.W024"
    assert "refused USERNAME and PASSWORD)." in text
    assert "hush" not in text


@pytest.mark.parametrize(
    ("version", "is_old"),
    [
        (b"1.6.17", True),
        (b"1.5.22", True),
        (b"1.6.18", False),
        (b"1.6.18_2-gabc", False),
        (b"1.10.0", False),
        (b"unknown", True),
    ],
)
def test_a_memcached_that_is_too_old_is_named(servers: Any, version: bytes, is_old: bool) -> None:
    with memcached_of(version) as server:
        servers(MEMCACHED={"SERVERS": [server], "TIMEOUT": 2.0})
        found = reported_by_servers()
    assert [code for code, _ in found] == ["distsession.W025"] * is_old
    assert all(f"{server} has version {version.decode()}" in text for _, text in found)


def test_each_couchdb_node_is_asked_by_itself(
    settings: Any, servers: Any, nodes: list[MemcachedNode]
) -> None:
    with FakeServer() as good, FakeServer() as bad:
        good.default = reply(404, {"error": "not_found", "reason": "Database does not exist."})
        bad.default = reply(401, {"error": "unauthorized", "reason": "Wrong password."})
        urls = [good.url, f"http://me:hush@{NOWHERE}"]
        servers(COUCHDB={"URL": urls, "ADMIN_URL": bad.url})
        away, refused = reported_by_servers()
        assert len(good.requests) == 1
    assert away[0] == refused[0] == "distsession.W024"
    assert f"CouchDB at http://{NOWHERE}/" in away[1]
    assert f"CouchDB at http://127.0.0.1:{bad.port}/" in refused[1]
    # What CouchDB says ends in a full stop, which is not the end of ours.
    assert "(unauthorized: Wrong password). Check user and password" in refused[1]
    assert "hush" not in away[1]


def test_a_client_of_ones_own_is_asked(servers: Any) -> None:
    servers(COUCHDB={"CLIENT": "tests.checks.test_servers.client_of_ones_own"})
    [(code, text)] = reported_by_servers()
    assert code == "distsession.W024"
    assert "CouchDB at http://127.0.0.1:1" in text


def client_of_ones_own() -> Any:
    from couchdb3 import Server

    return Server(f"http://{NOWHERE}", auth_method="basic", timeout=1)


def test_engines_ask_their_own_servers_only(settings: Any, servers: Any) -> None:
    servers(COUCHDB={"URL": f"http://{NOWHERE}"})
    engine_class(settings, "memcached")
    assert reported_by_servers() == []
