from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pymemcache.exceptions import MemcacheError, MemcacheUnknownError

from django_distsession.stores.memcached import multiplexed
from django_distsession.stores.memcached.multiplexed import MultiplexedConnection
from django_distsession.stores.memcached.protocol import Reply, ServerError

SECONDS = 10.0
LIMIT = 1024 * 1024


class Server:
    """
    Answers as a test tells it to. received: what came from the client, line by line.
    """

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.is_reading = asyncio.Event()
        self.is_reading.set()
        self.packets: list[bytes] = []
        self.is_done = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        try:
            while data := await self._read(reader):
                self.packets.append(data)
                for line in data.splitlines():
                    self.received.put_nowait(line)
            writer.close()
            await writer.wait_closed()
        except OSError:
            pass
        self.is_done.set()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        await self.is_reading.wait()
        return await reader.read(2**20)

    async def requests(self, count: int) -> list[bytes]:
        return [await self.received.get() for _ in range(count)]

    def reply(self, *replies: bytes) -> None:
        self.writer.write(b"".join(replies))


@asynccontextmanager
async def connected(patience: float) -> AsyncIterator[tuple[MultiplexedConnection, Server]]:
    server = Server()
    loop = asyncio.get_running_loop()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    _, connection = await loop.create_connection(
        lambda: MultiplexedConnection(loop, LIMIT, patience), host, port
    )
    try:
        yield connection, server
    finally:
        connection.close()
        await connection.closed
        await server.is_done.wait()
        listening.close()
        await listening.wait_closed()


Scenario = Callable[[MultiplexedConnection, Server], Awaitable[None]]
Run = Callable[..., None]


@pytest.fixture
def run(on_loop: Callable[..., None]) -> Run:
    """
    Return a function that runs a scenario. patience: the connection's.
    """

    async def main(scenario: Scenario, patience: float) -> None:
        async with asyncio.timeout(SECONDS), connected(patience) as (connection, server):
            await scenario(connection, server)

    return lambda scenario, patience=0.0: on_loop(main(scenario, patience))


def ask(
    connection: MultiplexedConnection, key: bytes = b"key", seconds: float = SECONDS
) -> asyncio.Future[Reply]:
    return connection.send(
        key, b"mg %b v c t" % key, b"", asyncio.get_running_loop().time() + seconds
    )


def value(key: bytes, opaque: int, content: bytes) -> bytes:
    return b"VA %d c7 t60 k%b O%d\r\n%b\r\n" % (len(content), key, opaque, content)


def test_requests_of_one_turn_leave_together_and_are_answered_in_order(run: Run) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        asked = [ask(connection, key) for key in (b"a", b"b", b"c")]
        assert await server.requests(3) == [
            b"mg a v c t k O1",
            b"mg b v c t k O2",
            b"mg c v c t k O3",
        ]
        assert len(server.packets) == 1
        server.reply(value(b"a", 1, b"one"), b"EN kb O2\r\n", value(b"c", 3, b"three"))
        first, second, third = await asyncio.gather(*asked)
        assert (first.value, first.cas, first.ttl) == (b"one", 7, 60)
        assert second.status == b"EN"
        assert third.value == b"three"

    run(scenario)


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_reply_may_arrive_in_parts(run: Run, cut: int) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        asked = [ask(connection, b"a"), ask(connection, b"b")]
        await server.requests(2)
        whole = value(b"a", 1, b"with\r\nlines") + value(b"b", 2, b"")
        server.reply(whole[:cut])
        await server.writer.drain()
        # It is read before the rest is sent.
        await asyncio.sleep(0)
        server.reply(whole[cut:])
        assert [reply.value for reply in await asyncio.gather(*asked)] == [b"with\r\nlines", b""]

    run(scenario)


def test_a_cancelled_request_disturbs_nobody(run: Run) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        asked = [ask(connection, key) for key in (b"a", b"b")]
        await server.requests(2)
        asked[0].cancel()
        server.reply(value(b"a", 1, b"one"), value(b"b", 2, b"two"))
        assert (await asked[1]).value == b"two"
        asked.append(ask(connection, b"c"))
        await server.requests(1)
        server.reply(value(b"c", 3, b"three"))
        assert (await asked[2]).value == b"three"

    run(scenario)


@pytest.mark.parametrize(
    "wrong",
    [
        value(b"other", 1, b"x"),
        value(b"key", 2, b"x"),
        b"EN kkey O11\r\n",
        b"VA 99999999 c7 t60 kkey O1\r\n",
        b"VA 1 c7 t60 kkey O1\r\nxxxx",
        b"VA -1 c7 t60 kkey O1\r\n\r\n",
        b"VA x c7 t60 kkey O1\r\n\r\n",
        b"VA kkey O1\r\n",
        b"WHAT kkey O1\r\n",
        b"ERROR\r\n",
        b"x" * 5000,
        b"\r\n",
    ],
)
def test_a_wrong_reply_ends_the_connection_for_all(run: Run, wrong: bytes) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        asked = [ask(connection), ask(connection)]
        await server.requests(2)
        server.reply(wrong)
        for reply in asked:
            with pytest.raises((MemcacheError, ValueError, LookupError)):
                await reply
        with pytest.raises((MemcacheError, ValueError, LookupError)):
            await ask(connection)

    run(scenario)


def test_a_reply_that_nobody_asked_for_ends_the_connection(run: Run) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        reply = ask(connection)
        await server.requests(1)
        server.reply(value(b"key", 1, b"x"), value(b"key", 1, b"x"))
        await reply
        await connection.closed
        assert isinstance(connection.error, MemcacheUnknownError)

    run(scenario)


def test_a_server_without_memory_refuses_one_request_and_goes_on(run: Run) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        asked = [ask(connection, b"a"), ask(connection, b"b")]
        await server.requests(2)
        server.reply(b"SERVER_ERROR out of memory storing object\r\n", value(b"b", 2, b"two"))
        with pytest.raises(ServerError, match="out of memory"):
            await asked[0]
        assert (await asked[1]).value == b"two"

    run(scenario)


def test_an_overdue_reply_ends_the_connection(run: Run) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        asked = [ask(connection, seconds=0.01), ask(connection)]
        await server.requests(2)
        for reply in asked:
            with pytest.raises(TimeoutError):
                await reply
        await connection.closed

    run(scenario)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_server_that_hangs_up_fails_all_that_wait(run: Run, how: str) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        asked = [ask(connection), ask(connection)]
        await server.requests(2)
        if how == "reset":
            server.writer.transport.abort()
        else:
            server.writer.close()
        for reply in asked:
            with pytest.raises((MemcacheError, OSError)):
                await reply

    run(scenario)


def test_no_more_than_so_many_are_in_flight(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiplexed, "MOST_IN_FLIGHT", 2)

    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        order: list[int] = []

        async def request(number: int) -> bytes:
            await connection.wait_for_turn(SECONDS)
            order.append(number)
            return (await ask(connection, b"%d" % number)).value

        tasks = [asyncio.create_task(request(number)) for number in range(6)]
        for number in range(0, 6, 2):
            await server.requests(2)
            assert server.received.empty()
            server.reply(*(value(b"%d" % n, n + 1, b"%d" % n) for n in (number, number + 1)))
        assert await asyncio.gather(*tasks) == [b"%d" % number for number in range(6)]
        assert order == sorted(order)

    run(scenario)


def test_who_waits_for_his_turn_waits_until_his_deadline(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplexed, "MOST_IN_FLIGHT", 1)

    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        first = ask(connection)
        with pytest.raises(TimeoutError):
            await connection.wait_for_turn(0.01)
        given_up = asyncio.create_task(connection.wait_for_turn(SECONDS))
        turn = asyncio.create_task(connection.wait_for_turn(SECONDS))
        await server.requests(1)
        given_up.cancel()
        server.reply(b"EN kkey O1\r\n")
        await first
        await turn

    run(scenario)


def test_a_server_that_reads_slowly_holds_writers_back(run: Run) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SECONDS
        server.is_reading.clear()
        body = b"x" * 500_000 + b"\r\n"
        asked: list[asyncio.Future[Any]] = []
        # More than the buffers of both ends take.
        while not connection.is_full and len(asked) < 100:
            asked.append(connection.send(b"key", b"ms key 500000 T60 c", body, deadline))
            await asyncio.sleep(0)
        assert connection.is_full
        assert len(asked) < 100
        turn = asyncio.create_task(connection.wait_for_turn(SECONDS))
        server.is_reading.set()
        await turn

    run(scenario)


# Longer than the requests of these tests may take, and than the connection's patience.
BLOCKED = 0.25


@pytest.mark.parametrize("patience", [0.0, 0.05])
def test_what_arrived_while_the_loop_was_blocked_is_not_overdue(run: Run, patience: float) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        asked = [ask(connection, b"%d" % number, seconds=0.05) for number in range(3)]
        await server.requests(3)
        server.reply(*(value(b"%d" % number, number + 1, b"x" * 20_000) for number in range(3)))
        time.sleep(BLOCKED)
        for reply in asked:
            assert len((await reply).value) == 20_000

    run(scenario, patience)


def test_what_had_not_left_when_the_loop_was_blocked_is_not_overdue(run: Run) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        asked = ask(connection, seconds=0.05)
        time.sleep(BLOCKED)
        await server.requests(1)
        server.reply(value(b"key", 1, b"x"))
        assert (await asked).value == b"x"

    run(scenario)


def test_who_has_little_time_harms_nobody(run: Run) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        asked = [ask(connection, b"a"), ask(connection, b"b", seconds=0.01), ask(connection, b"c")]
        await server.requests(3)
        # It is not the first one's time that the second one waits for.
        with pytest.raises(TimeoutError):
            await asked[1]
        server.reply(value(b"a", 1, b"one"), value(b"b", 2, b"two"), value(b"c", 3, b"three"))
        assert [(await asked[0]).value, (await asked[2]).value] == [b"one", b"three"]
        assert connection.error is None

    run(scenario, SECONDS)


def test_a_server_that_leaves_all_who_have_little_time_unanswered_hangs(run: Run) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await ask(connection, seconds=0.01)
        await connection.closed
        assert isinstance(connection.error, TimeoutError)

    run(scenario, 0.1)


def test_a_retired_connection_closes_when_it_is_idle(run: Run) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        asked = [ask(connection, b"a")]
        connection.retire()
        # Somebody had hold of it.
        asked.append(ask(connection, b"b"))
        await server.requests(2)
        server.reply(value(b"a", 1, b"one"), value(b"b", 2, b"two"))
        assert [(await reply).value for reply in asked] == [b"one", b"two"]
        await connection.closed

    run(scenario)


def test_an_idle_connection_that_is_retired_closes(run: Run) -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        connection.retire()
        await connection.closed

    run(scenario)
