"""
A server's connection on one event loop: made when it is needed, made anew when it was lost, and
closed with its loop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

from pymemcache.exceptions import MemcacheUnknownError

from ...secret import Secret
from .multiplexed import MOST_IN_FLIGHT, MultiplexedConnection
from .protocol import (
    NOT_OURS,
    SETTINGS,
    STATS,
    Incarnation,
    authentication,
    ends_answer,
    incarnation_in,
    item_limit_in,
    parse_stats,
)

# How long the first of several addresses of a host is tried alone, in seconds (RFC 8305).
NEXT_ADDRESS_AFTER = 0.1

# No server says as much about itself, in bytes.
LONGEST_GREETING = 256 * 1024

HUNG_UP = (
    "The server hung up at the first command. Does it speak the text protocol (not -S, nor "
    "-B binary), and TLS only if it is told to?"
)


class TooManyRequests(Exception):
    """
    So many requests are on their way already that there was no room for one more in time.
    """

    count = MOST_IN_FLIGHT


class Channel:
    """
    server: as `parse_server` returns it. connect_timeout: seconds. met: is told which run of the
    server answered.
    """

    def __init__(
        self,
        server: tuple[str, int] | str,
        *,
        connect_timeout: float,
        tls_context: ssl.SSLContext | None,
        credentials: Secret[tuple[str, str]] | None,
        met: Callable[[Incarnation], object] = lambda incarnation: None,
    ) -> None:
        self._server = server
        self._connect_timeout = connect_timeout
        self._tls_context = tls_context
        self._credentials = credentials
        self._met = met
        self._loop = asyncio.get_running_loop()
        self._connection: MultiplexedConnection | None = None
        self._connecting: asyncio.Task[MultiplexedConnection] | None = None

    @property
    def connection(self) -> MultiplexedConnection | None:
        """
        The connection, if there is one that works and has room.
        """
        connection = self._connection
        if connection is None or connection.error is not None or connection.is_full:
            return None
        return connection

    async def acquire(self, deadline: float) -> MultiplexedConnection:
        """
        Return a connection that works and has room, by the deadline (of the loop's clock). Whoever
        needs one at the same time shares the attempt, and who gives up leaves it to the others.
        """
        connection = self._connection
        if connection is None or connection.error is not None:
            if self._connecting is None:
                self._connecting = self._loop.create_task(self._connect())
                self._connecting.add_done_callback(self._connected)
            async with asyncio.timeout_at(deadline):
                connection = await asyncio.shield(self._connecting)
        if connection.is_full:
            try:
                await connection.wait_for_turn(deadline)
            except TimeoutError:
                raise TooManyRequests from None
            if connection.error is not None:
                raise connection.error
        return connection

    def close(self) -> None:
        """
        Close the connection. What waits for it fails.
        """
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.close()

    async def aclose(self) -> None:
        """
        Close the connection, and wait until nothing is left of it.
        """
        connecting, connection = self._connecting, self._connection
        self.close()
        if connecting is not None:
            await asyncio.wait([connecting])
        if connection is not None:
            await connection.closed

    def _connected(self, task: asyncio.Task[MultiplexedConnection]) -> None:
        self._connecting = None
        if not task.cancelled() and task.exception() is None:
            self._connection = task.result()

    async def _connect(self) -> MultiplexedConnection:
        async with asyncio.timeout(self._connect_timeout):
            greeting = await self._dial()
            try:
                if self._credentials is not None:
                    said = await greeting.ask(self._credentials.map(authentication).reveal())
                    if said != b"STORED\r\n":
                        raise MemcacheUnknownError("The server refused USERNAME and PASSWORD.")
                settings = parse_stats(await greeting.ask(SETTINGS))
                self._met(incarnation_in(parse_stats(await greeting.ask(STATS))))
                return greeting.hand_over(item_limit_in(settings))
            except BaseException:
                greeting.transport.abort()
                raise

    async def _dial(self) -> _Greeting:
        def make() -> _Greeting:
            return _Greeting(self._loop)

        if isinstance(self._server, str):
            _, greeting = await self._loop.create_unix_connection(make, self._server)
            return greeting
        host, port = self._server
        tls: dict[str, Any] = (
            {"ssl": self._tls_context, "server_hostname": host} if self._tls_context else {}
        )
        _, greeting = await self._loop.create_connection(
            make, host, port, happy_eyeballs_delay=NEXT_ADDRESS_AFTER, **tls
        )
        return greeting


class _Greeting(asyncio.Protocol):
    """
    What is said on a new connection before it is shared: one question and one answer at a time.
    """

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._received = b""
        self._answer: asyncio.Future[bytes] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    async def ask(self, question: bytes) -> bytes:
        """
        Return the answer to a command: lines up to one that ends it.
        """
        self._answer = self._loop.create_future()
        self.transport.write(question)
        return await self._answer

    def hand_over(self, item_limit: int) -> MultiplexedConnection:
        """
        Return the connection, ready to be shared.
        """
        if self._received:
            raise MemcacheUnknownError(NOT_OURS)
        connection = MultiplexedConnection(self._loop, item_limit)
        self.transport.set_protocol(connection)
        connection.connection_made(self.transport)
        return connection

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > LONGEST_GREETING:
            self._fail(MemcacheUnknownError(NOT_OURS))
        elif ends_answer(self._received) and not self._answer.done():
            self._answer.set_result(self._received)
            self._received = b""

    def eof_received(self) -> None:
        self._fail(MemcacheUnknownError(HUNG_UP))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or MemcacheUnknownError(HUNG_UP))

    def _fail(self, error: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)
