"""
No session ever sees what belongs to another, whatever servers answer and whatever interrupts.
"""

from __future__ import annotations

import logging
import re
import select
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.deadline import Deadline
from django_distsession.stores.memcached.connection import Connection
from django_distsession.stores.memcached.protocol import GET
from testproject.servers import MemcachedNode

from .conftest import ask, contents, store_of, stored

# What a server does about a request, given its connection and the reply that would be right.
Answer = Callable[[Any, bytes], None]


class Liar(socketserver.ThreadingTCPServer):
    """
    A memcached that remembers values, and whose replies go through `self.answer`.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.values: dict[bytes, bytes] = {}
        self.answer: Answer = lambda connection, reply: connection.sendall(reply)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(socketserver.StreamRequestHandler):
    server: Liar

    def handle(self) -> None:
        for line in self.rfile:
            verb, *words = line.split()
            if verb == b"stats":
                self.request.sendall(b"STAT item_size_max 1048576\r\nEND\r\n")
                continue
            key, opaque = words[0], words[-1]
            if verb == b"ms":
                self.server.values[key] = self.rfile.read(int(words[1]) + 2)
                reply = b"HD c1 k%b %b\r\n" % (key, opaque)
            elif key in self.server.values:
                value = self.server.values[key]
                reply = b"VA %d c1 t1209600 k%b %b\r\n%b" % (len(value) - 2, key, opaque, value)
            else:
                reply = b"EN k%b %b\r\n" % (key, opaque)
            self.server.answer(self.request, reply)


@contextmanager
def only_once(liar: Liar, answer: Answer) -> Iterator[None]:
    """
    Answer the next request this way, and those after it as is right.
    """
    honest = liar.answer

    def once(connection: Any, reply: bytes) -> None:
        liar.answer = honest
        answer(connection, reply)

    liar.answer = once
    yield
    assert liar.answer is honest, "Nothing was asked."


@pytest.fixture
def liar() -> Iterator[Liar]:
    with Liar() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def sessions(use: Any, liar: Liar) -> Any:
    return use([liar.address], TIMEOUT=0.2, RETRY_AFTER=0.001)


def read_when_up(sessions: Any, key: str) -> dict[str, Any]:
    """
    Read until the server is asked again. A wrong answer ends it as well as a right one.
    """
    while True:
        try:
            return contents(sessions, key)
        except StoreUnavailable:
            continue


def other_key(connection: Any, reply: bytes) -> None:
    connection.sendall(re.sub(rb" k\S+", b" kanother", reply, count=1))


def other_opaque(connection: Any, reply: bytes) -> None:
    connection.sendall(re.sub(rb" O\d+", b" O999", reply, count=1))


def no_opaque(connection: Any, reply: bytes) -> None:
    connection.sendall(re.sub(rb" O\d+", b"", reply, count=1))


def truncated(connection: Any, reply: bytes) -> None:
    connection.sendall(reply[: len(reply) // 2])
    connection.shutdown(2)


def truncated_and_silent(connection: Any, reply: bytes) -> None:
    connection.sendall(reply[: len(reply) // 2])


def nonsense(connection: Any, reply: bytes) -> None:
    connection.sendall(b"VA lots c1\r\n")


def empty_line(connection: Any, reply: bytes) -> None:
    connection.sendall(b"\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        other_key,
        other_opaque,
        no_opaque,
        truncated,
        truncated_and_silent,
        nonsense,
        empty_line,
    ],
)
def test_what_is_no_reply_to_this_request_is_an_outage(
    sessions: Any, liar: Liar, answer: Answer
) -> None:
    key = stored(sessions, mine="1")
    honest, liar.answer = liar.answer, answer
    with pytest.raises(StoreUnavailable):
        contents(sessions, key)
    liar.answer = honest
    assert read_when_up(sessions, key) == {"mine": "1"}


@pytest.mark.parametrize("answer", [other_key, truncated, truncated_and_silent, nonsense])
def test_a_server_that_went_wrong_once_is_asked_again_before_that_is_an_outage(
    sessions: Any, liar: Liar, answer: Answer
) -> None:
    key = stored(sessions, mine="1")
    with only_once(liar, answer):
        assert contents(sessions, key) == {"mine": "1"}
    assert sessions.status()[0]["last_error"]


def test_a_late_reply_meets_no_reader(sessions: Any, liar: Liar) -> None:
    keys = [stored(sessions, mine=number) for number in range(2)]
    waiting: list[tuple[Any, bytes]] = []
    with only_once(liar, lambda connection, reply: waiting.append((connection, reply))):
        assert contents(sessions, keys[0]) == {"mine": 0}
    ((connection, reply),) = waiting
    # An error is as it should be: nobody listens any more.
    with suppress(OSError):
        connection.sendall(reply)
    assert read_when_up(sessions, keys[1]) == {"mine": 1}


def test_a_reply_that_comes_twice_meets_no_reader(sessions: Any, liar: Liar) -> None:
    keys = [stored(sessions, mine=number) for number in range(2)]
    with only_once(liar, lambda connection, reply: connection.sendall(reply * 2)):
        assert contents(sessions, keys[0]) == {"mine": 0}
    assert "another request" in sessions.status()[0]["last_error"]
    assert read_when_up(sessions, keys[1]) == {"mine": 1}


def test_a_second_reply_that_comes_later_meets_no_reader(sessions: Any, liar: Liar) -> None:
    keys = [stored(sessions, mine=number) for number in range(2)]
    sent, go_on = threading.Event(), threading.Event()

    def twice(connection: Any, reply: bytes) -> None:
        connection.sendall(reply)
        assert go_on.wait(10)
        connection.sendall(reply)
        sent.set()

    with only_once(liar, twice):
        assert contents(sessions, keys[0]) == {"mine": 0}
    go_on.set()
    assert sent.wait(10)
    (connection,) = store_of(sessions).nodes[0].pool._idle
    assert select.select([connection.sock.raw], [], [], 10)[0]
    # Noticed before the next request is sent, so nobody is the worse for it.
    assert contents(sessions, keys[1]) == {"mine": 1}
    assert sessions.status()[0]["last_error"] is None


def test_a_value_of_another_session_is_no_session(
    sessions: Any, liar: Liar, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [stored(sessions, secret=f"of {number}") for number in range(2)]
    one, two = liar.values
    liar.values[one] = liar.values[two]
    session = sessions(keys[0])
    with caplog.at_level(logging.WARNING):
        assert session.load() == {}
    assert [record.name for record in caplog.records] == ["django.security.SuspiciousSession"]
    assert "secret" not in caplog.text


class Interrupted(BaseException):
    """
    Like a greenlet's time-out.
    """


@pytest.mark.parametrize("method", ["open", "send", "receive"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupted_exchange_leaves_nothing_behind(
    use: Any,
    nodes: list[MemcachedNode],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    moment: str,
) -> None:
    sessions = use(nodes[:2], POOL_SIZE=2)
    keys = [stored(sessions, mine=number) for number in range(2)]
    original = getattr(Connection, method)

    def interrupted(connection: Connection, *args: Any) -> Any:
        if moment == "after":
            original(connection, *args)
        raise Interrupted

    for _ in range(5):
        with monkeypatch.context() as patch:
            patch.setattr(Connection, method, interrupted)
            if method == "open":
                store_of(sessions).close()
            with pytest.raises(Interrupted):
                contents(sessions, keys[0])
        assert not any(node.pool._idle for node in store_of(sessions).nodes)
        assert contents(sessions, keys[1]) == {"mine": 1}
    assert all(server["up"] for server in sessions.status())


def test_a_read_interrupted_half_way_does_not_go_on_in_the_next(
    use: Any, nodes: list[MemcachedNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = use(nodes[:1])
    keys = [stored(sessions, mine=number, text="x" * 20_000) for number in range(2)]

    class Socket:
        """
        Gives a few bytes, then is interrupted.
        """

        def __init__(self, real: Any) -> None:
            self.real = real
            self.reads = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def recv(self, size: int) -> bytes:
            self.reads += 1
            if self.reads > 1:
                raise Interrupted
            received: bytes = self.real.recv(100)
            return received

    (connection,) = store_of(sessions).nodes[0].pool._idle
    connection.sock.raw = Socket(connection.sock.raw)
    with pytest.raises(Interrupted):
        contents(sessions, keys[0])
    assert contents(sessions, keys[1])["mine"] == 1


def test_an_empty_value_is_read_to_its_end(use: Any, nodes: list[MemcachedNode]) -> None:
    sessions = use(nodes[:1])
    key = stored(sessions, a=1)
    server = nodes[0].address
    ask(sessions, key, server, b"ms %b 0 T99", b"\r\n")

    class Socket:
        """
        Gives the first line, then the rest.
        """

        def __init__(self, real: Any) -> None:
            self.real = real
            self.rest = b""

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def recv(self, size: int) -> bytes:
            if not self.rest:
                line, end, self.rest = self.real.recv(size).partition(b"\r\n")
                given: bytes = line + end
            else:
                given, self.rest = self.rest, b""
            return given

    (connection,) = store_of(sessions).nodes[0].pool._idle
    connection.sock.raw = Socket(connection.sock.raw)
    for _ in range(2):
        reply = ask(sessions, key, server, GET)
        assert (reply.status, reply.value) == (b"VA", b"")


def test_what_memcached_says_unasked_of_a_stale_item_does_no_harm(
    use: Any, nodes: list[MemcachedNode]
) -> None:
    sessions = use(nodes[:1])
    key = stored(sessions, a=1)
    ask(sessions, key, nodes[0].address, b"md %b I T99")
    for _ in range(2):
        assert contents(sessions, key) == {"a": 1}
    assert all(server["up"] for server in sessions.status())


def test_a_connection_that_got_lost_gives_its_place_back(
    use: Any, nodes: list[MemcachedNode]
) -> None:
    sessions = use(nodes[:1], POOL_SIZE=1)
    key = stored(sessions, a=1)
    for _ in range(3):
        # As if a signal came between taking it out of the pool and making a note of it.
        store_of(sessions).nodes[0].acquire(Deadline(10))
        assert contents(sessions, key) == {"a": 1}


@pytest.mark.parametrize("what", ["line", "value"])
def test_a_server_that_sends_a_byte_now_and_then_holds_up_nobody(
    sessions: Any, liar: Liar, what: str
) -> None:
    key = stored(sessions, text="x" * 10_000)
    over = threading.Event()

    def trickle(connection: Any, reply: bytes) -> None:
        begun = reply.index(b"\r\n") + 2 if what == "value" else 0
        connection.sendall(reply[:begun])
        for byte in reply[begun:]:
            if over.wait(0.01):
                return
            with suppress(OSError):
                connection.sendall(bytes([byte]))

    liar.answer = trickle
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable):
        contents(sessions, key)
    over.set()
    # Of its 0.2 seconds; a time-out for each byte would take half a minute.
    assert time.monotonic() - begun < 5


def test_a_reply_without_an_end_is_not_read_to_its_end(sessions: Any, liar: Liar) -> None:
    key = stored(sessions, a=1)
    liar.answer = lambda connection, reply: connection.sendall(b"VA " + b"1" * 100_000)
    with pytest.raises(StoreUnavailable, match="longer than any"):
        contents(sessions, key)


def test_a_value_larger_than_any_is_not_read(sessions: Any, liar: Liar) -> None:
    key = stored(sessions, a=1)
    liar.answer = lambda connection, reply: connection.sendall(
        re.sub(rb"VA \d+", b"VA 99999999999", reply)
    )
    with pytest.raises(StoreUnavailable, match="larger than any"):
        contents(sessions, key)
