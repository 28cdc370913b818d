from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Self

import pytest

from testproject.servers import MemcachedNode, ServerUnavailable, memcached_nodes
from testproject.servers import process as server_process

from .processes import PATIENCE, is_paused, wait_until_gone


@pytest.fixture
def node() -> Iterator[MemcachedNode]:
    with MemcachedNode() as node:
        yield node


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
