"""
Connections: used again, replaced, broken, and what comes over them.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import StoreUnavailable
from testproject.servers import CouchDBServer
from tests.stores.couchdb.conftest import contents, stored
from tests.stores.couchdb.fake import FakeServer, Request, raw, reply

Engine = type[SessionStore]

MISSING = reply(404, {"error": "not_found", "reason": "missing"})
KEY = "a" * 32


def load(sessions: Engine) -> dict[str, Any]:
    return sessions(KEY).load()


class TestKeepAlive:
    def test_a_connection_is_used_again(self, faked: Engine, fake: FakeServer) -> None:
        fake.default = MISSING
        for _ in range(3):
            load(faked)
        assert {request.connection for request in fake.requests} == {1}

    def test_one_that_the_server_closed_is_replaced(self, faked: Engine, fake: FakeServer) -> None:
        body = b'{"error":"not_found","reason":"missing"}'
        head = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body)
        fake.script = [raw(head + body, close=True)]
        fake.default = MISSING
        load(faked)
        load(faked)
        assert [request.connection for request in fake.requests] == [1, 2]

    def test_one_that_closes_under_the_request_is_retried_once(
        self, faked: Engine, fake: FakeServer
    ) -> None:
        fake.script = [MISSING, raw(b"", close=True), MISSING]
        load(faked)
        load(faked)
        assert [request.connection for request in fake.requests] == [1, 1, 2]
        fake.script = [raw(b"", close=True), raw(b"", close=True)]
        with pytest.raises(StoreUnavailable):
            load(faked)
        assert len(fake.requests) == 5

    def test_what_nobody_asked_for_is_never_an_answer(
        self, faked: Engine, fake: FakeServer
    ) -> None:
        body = b'{"error":"not_found","reason":"missing"}'
        answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        fake.script = [raw(answer)]
        fake.default = reply(200, {"unexpected": True})
        load(faked)
        # A second answer to the first request, on the connection that now lies in the pool.
        node = faked.get_store()._client._server.session.nodes[0]  # type: ignore[attr-defined]
        idle = node._pool._idle[0]
        fake_side = next(c for c in fake._connections if c.fileno() >= 0)
        fake_side.sendall(answer)
        arrived = idle._raw.recv(1, 2)
        assert arrived
        with pytest.raises(StoreUnavailable):
            faked(KEY).load()
        assert fake.requests[-1].connection == 2

    def test_a_connection_that_is_told_to_close_is_closed(
        self, faked: Engine, fake: FakeServer
    ) -> None:
        fake.default = reply(404, {"error": "not_found", "reason": "missing"}, Connection="close")
        load(faked)
        load(faked)
        assert [request.connection for request in fake.requests] == [1, 2]

    @pytest.mark.parametrize("length", ["told", "until it closes", "chunked"])
    def test_a_large_body_that_ends_the_connection_is_read_whole(
        self, faked: Engine, fake: FakeServer, length: str
    ) -> None:
        fake.script = [reply(201, {"rev": "1-a"})]
        key = stored(faked, a=1)
        document = {**fake.requests[0].body, "_rev": "1-a", "padding": "x" * 1_000_000}
        body = json.dumps(document).encode()
        head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n"
        if length == "told":
            head += b"Content-Length: %d\r\n" % len(body)
        elif length == "chunked":
            head += b"Transfer-Encoding: chunked\r\n"
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        fake.default = raw(head + b"\r\n" + body, close=True)
        for _ in range(2):
            assert contents(faked, key) == {"a": 1}

    @pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
    @pytest.mark.parametrize("length", ["told", "chunked"])
    def test_an_answer_may_come_byte_by_byte(
        self, faked: Engine, fake: FakeServer, length: str, end: bytes
    ) -> None:
        fake.script = [reply(201, {"rev": "1-abc"})]
        key = stored(faked, a=1)
        body = json.dumps({**fake.requests[0].body, "_rev": "1-abc"}).encode()
        head = b"HTTP/1.1 200 OK" + end
        if length == "told":
            head += b"Content-Length: %d" % len(body) + end
        else:
            head += b"Transfer-Encoding: chunked" + end
            parts = [b"%x;why" % len(body), body, b"0", b"Trailer: x", b"", b""]
            body = end.join(parts)
        answer = b"HTTP/1.1 100 Continue" + end * 2 + head + end + body

        def in_bytes(connection: socket.socket, request: Request) -> bool:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in answer:
                connection.sendall(bytes([byte]))
            return True

        fake.default = in_bytes
        for _ in range(2):
            assert contents(faked, key) == {"a": 1}
        assert len({request.connection for request in fake.requests}) == 1

    @pytest.mark.parametrize("more", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"])
    def test_what_comes_after_an_answer_answers_nothing(
        self, faked: Engine, fake: FakeServer, more: bytes
    ) -> None:
        body = b'{"error":"not_found","reason":"missing"}'
        head = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body)
        fake.default = raw(head + body + more)
        for _ in range(2):
            assert load(faked) == {}
        assert [request.connection for request in fake.requests] == [1, 2]

    @pytest.mark.parametrize("rev", ["1-a\r\nX: y", "1-a\nX: y", "1-a\0"])
    def test_a_revision_ends_no_header(self, faked: Engine, fake: FakeServer, rev: str) -> None:
        client = faked.get_store()._client  # type: ignore[attr-defined]
        with pytest.raises(StoreUnavailable):
            client.get_unless("a", rev)
        assert fake.requests == []

    def test_what_is_no_http_is_not_waited_for(self, faked: Engine, fake: FakeServer) -> None:
        fake.default = raw(b"220 mail.example ESMTP\r\n")
        with pytest.raises(StoreUnavailable, match="BadStatusLine"):
            load(faked)

    def test_a_head_without_end_is_no_answer(self, faked: Engine, fake: FakeServer) -> None:
        fake.default = raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}")
        with pytest.raises(StoreUnavailable, match="HTTPException"):
            load(faked)
        fake.default = raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\n{}")
        with pytest.raises(StoreUnavailable, match="LineTooLong"):
            load(faked)

    def test_a_full_pool_waits(
        self, faked: Engine, fake: FakeServer, configure: Callable[..., None]
    ) -> None:
        configure(COUCHDB={"POOL_SIZE": 2, "TIMEOUT": 30})
        fake.default = MISSING
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: load(faked), range(40)))
        assert results == [{}] * 40
        assert len(fake._connections) <= 2

    def test_a_forked_child_uses_connections_of_its_own(
        self, faked: Engine, fake: FakeServer
    ) -> None:
        fake.default = MISSING
        load(faked)
        node = faked.get_store()._client._server.session.nodes[0]  # type: ignore[attr-defined]
        before = list(node._pool._idle)
        assert before
        node.reset_after_fork()
        assert not node._pool._idle
        load(faked)
        assert fake.requests[-1].connection == 2


def test_many_threads_share_one_store(sessions: Engine) -> None:
    keys = [stored(sessions, number=number) for number in range(8)]
    start = threading.Barrier(8)

    def work(number: int) -> set[Any]:
        start.wait()
        return {contents(sessions, keys[number])["number"] for _ in range(10)}

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [{number} for number in range(8)]


def test_a_forked_process_and_its_parent_read_their_own_replies(
    sessions: Engine, couchdb: CouchDBServer
) -> None:
    key = stored(sessions, a=1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            good = all(contents(sessions, key) == {"a": 1} for _ in range(5))
            os.write(writer, b"good" if good else b"bad")
        finally:
            os._exit(0)
    os.close(writer)
    mine = [contents(sessions, key) for _ in range(5)]
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"good"
    os.waitpid(child, 0)
    assert mine == [{"a": 1}] * 5
