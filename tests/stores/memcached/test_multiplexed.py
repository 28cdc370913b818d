from __future__ import annotations

import asyncio
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
async def connected() -> AsyncIterator[tuple[MultiplexedConnection, Server]]:
    server = Server()
    loop = asyncio.get_running_loop()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    _, connection = await loop.create_connection(
        lambda: MultiplexedConnection(loop, LIMIT), host, port
    )
    try:
        yield connection, server
    finally:
        connection.close()
        await connection.closed
        await server.is_done.wait()
        listening.close()
        await listening.wait_closed()


def run(scenario: Callable[[MultiplexedConnection, Server], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(SECONDS), connected() as (connection, server):
            await scenario(connection, server)

    asyncio.run(main())


def ask(
    connection: MultiplexedConnection, key: bytes = b"key", seconds: float = SECONDS
) -> asyncio.Future[Reply]:
    return connection.send(
        key, b"mg %b v c t" % key, b"", asyncio.get_running_loop().time() + seconds
    )


def value(key: bytes, opaque: int, content: bytes) -> bytes:
    return b"VA %d c7 t60 k%b O%d\r\n%b\r\n" % (len(content), key, opaque, content)


def test_requests_of_one_turn_leave_together_and_are_answered_in_order() -> None:
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
def test_a_reply_may_arrive_in_parts(cut: int) -> None:
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


def test_a_cancelled_request_disturbs_nobody() -> None:
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
def test_a_wrong_reply_ends_the_connection_for_all(wrong: bytes) -> None:
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


def test_a_reply_that_nobody_asked_for_ends_the_connection() -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        reply = ask(connection)
        await server.requests(1)
        server.reply(value(b"key", 1, b"x"), value(b"key", 1, b"x"))
        await reply
        await connection.closed
        assert isinstance(connection.error, MemcacheUnknownError)

    run(scenario)


def test_a_server_without_memory_refuses_one_request_and_goes_on() -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        asked = [ask(connection, b"a"), ask(connection, b"b")]
        await server.requests(2)
        server.reply(b"SERVER_ERROR out of memory storing object\r\n", value(b"b", 2, b"two"))
        with pytest.raises(ServerError, match="out of memory"):
            await asked[0]
        assert (await asked[1]).value == b"two"

    run(scenario)


def test_an_overdue_reply_ends_the_connection() -> None:
    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        asked = [ask(connection, seconds=0.01), ask(connection)]
        await server.requests(2)
        for reply in asked:
            with pytest.raises(TimeoutError):
                await reply
        await connection.closed

    run(scenario)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_server_that_hangs_up_fails_all_that_wait(how: str) -> None:
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


def test_no_more_than_so_many_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiplexed, "MOST_IN_FLIGHT", 2)

    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        deadline = asyncio.get_running_loop().time() + SECONDS
        order: list[int] = []

        async def request(number: int) -> bytes:
            await connection.wait_for_turn(deadline)
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


def test_who_waits_for_his_turn_waits_until_his_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiplexed, "MOST_IN_FLIGHT", 1)

    async def scenario(connection: MultiplexedConnection, server: Server) -> None:
        now = asyncio.get_running_loop().time()
        first = ask(connection)
        with pytest.raises(TimeoutError):
            await connection.wait_for_turn(now + 0.01)
        given_up = asyncio.create_task(connection.wait_for_turn(now + SECONDS))
        turn = asyncio.create_task(connection.wait_for_turn(now + SECONDS))
        await server.requests(1)
        given_up.cancel()
        server.reply(b"EN kkey O1\r\n")
        await first
        await turn

    run(scenario)


def test_a_server_that_reads_slowly_holds_writers_back() -> None:
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
        turn = asyncio.create_task(connection.wait_for_turn(deadline))
        server.is_reading.set()
        await turn

    run(scenario)
