"""
A server's connection on one event loop: made when it is needed, made anew when it was lost, and
closed with its loop.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from pymemcache.exceptions import MemcacheUnknownError

from ...secret import Secret
from .. import dialing
from ..deadline import Deadline
from ..loops import FairTimeout
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
    server: as `parse_server` returns it. connect_timeout: seconds. patience: see
    `MultiplexedConnection`. met: is told which run of the server answered.
    """

    def __init__(
        self,
        server: tuple[str, int] | str,
        *,
        connect_timeout: float,
        patience: float = 0.0,
        tls_context: ssl.SSLContext | None,
        credentials: Secret[tuple[str, str]] | None,
        met: Callable[[Incarnation], object] = lambda incarnation: None,
    ) -> None:
        self._server = server
        self._connect_timeout = connect_timeout
        self._patience = patience
        self._tls_context = tls_context
        self._credentials = credentials
        self._met = met
        self._loop = asyncio.get_running_loop()
        self._connection: MultiplexedConnection | None = None
        self._connecting: asyncio.Task[MultiplexedConnection] | None = None
        # Those that are to be closed, but still in use.
        self._retired: set[MultiplexedConnection] = set()

    @property
    def connection(self) -> MultiplexedConnection | None:
        """
        The connection, if there is one that works and has room.
        """
        connection = self._connection
        if connection is None or connection.error is not None or connection.is_full:
            return None
        return connection

    async def acquire(self, seconds: float) -> MultiplexedConnection:
        """
        Return a connection that works and has room; it may take so many seconds. Whoever needs one
        at the same time shares the attempt, and who gives up leaves it to the others.
        """
        deadline = self._loop.time() + seconds
        connection = self._connection
        if connection is None or connection.error is not None:
            if self._connecting is None:
                self._connecting = self._loop.create_task(self._connect())
                self._connecting.add_done_callback(self._connected)
            # Neither a time-out nor a cancellation of this one reaches the attempt.
            async with FairTimeout(seconds):
                (done,), _ = await asyncio.wait([self._connecting])
            if done.cancelled():
                raise ConnectionAbortedError("The event loop ends.")
            connection = done.result()
        if connection.is_full:
            try:
                await connection.wait_for_turn(deadline - self._loop.time())
            except TimeoutError:
                raise TooManyRequests from None
            if connection.error is not None:
                raise connection.error
        return connection

    def close(self) -> None:
        """
        Close the connection when nobody waits for it any more. Who needs one after that makes
        another.
        """
        connection, self._connection = self._connection, None
        if connection is not None and connection.error is None:
            self._retired.add(connection)
            connection.closed.add_done_callback(lambda _: self._retired.discard(connection))
            connection.retire()

    async def aclose(self) -> None:
        """
        Close the connection, and wait until nothing is left of it.
        """
        if (connecting := self._connecting) is not None:
            connecting.cancel()
            # Then it is over, and taken note of.
            await asyncio.wait([connecting])
        for connection in [*self._retired, self._connection]:
            if connection is not None:
                connection.close()
                await connection.closed

    def _connected(self, task: asyncio.Task[MultiplexedConnection]) -> None:
        self._connecting = None
        if not task.cancelled() and task.exception() is None:
            self._connection = task.result()

    async def _connect(self) -> MultiplexedConnection:
        async with FairTimeout(self._connect_timeout):
            greeting = await self._dial()
            try:
                if self._credentials and not await greeting.log_in(self._credentials):
                    raise MemcacheUnknownError("The server refused USERNAME and PASSWORD.")
                limit = item_limit_in(parse_stats(await greeting.ask(SETTINGS)))
                self._met(incarnation_in(parse_stats(await greeting.ask(STATS))))
                return greeting.hand_over(MultiplexedConnection(self._loop, limit, self._patience))
            except BaseException:
                greeting.transport.abort()
                raise

    async def _dial(self) -> _Greeting:
        make = partial(_Greeting, self._loop)
        if isinstance(self._server, str):
            _, greeting = await self._loop.create_unix_connection(make, self._server)
            return greeting
        host, port = self._server
        tls: dict[str, Any] = (
            {"ssl": self._tls_context, "server_hostname": host} if self._tls_context else {}
        )
        # Not by `create_connection`: uvloop's tries one address only after another's time-out.
        raw = await self._connect_to_any(host, port)
        _, greeting = await self._loop.create_connection(make, sock=raw, **tls)
        return greeting

    async def _connect_to_any(self, host: str, port: int) -> socket.socket:
        """
        As `dialing.dial`.
        """
        deadline = Deadline(self._connect_timeout)
        addresses = await dialing.alook_up(host, port, deadline)
        error: OSError | None = None
        for number, (family, address) in enumerate(addresses):
            raw = socket.socket(family, socket.SOCK_STREAM)
            try:
                raw.setblocking(False)
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                async with FairTimeout(deadline.share(len(addresses) - number).left):
                    await self._loop.sock_connect(raw, address)
                return raw
            except BaseException as failure:
                raw.close()
                if not isinstance(failure, OSError):
                    raise
                # That one address refuses does not tell that a silent one is gone, too.
                if not isinstance(error, TimeoutError):
                    error = failure
        raise error or OSError("The server's name has no address.")


class _Greeting(asyncio.Protocol):
    """
    What is said on a new connection before it is shared: one question and one answer at a time.
    """

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._received = b""
        self._answer: asyncio.Future[bytes] | None = None
        self._error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    async def ask(self, question: bytes) -> bytes:
        """
        Return the answer to a command: lines up to one that ends it.
        """
        self.transport.write(question)
        return await self._read_answer()

    async def log_in(self, credentials: Secret[tuple[str, str]]) -> bool:
        """
        Return whether the server takes them.
        """
        # Whatever interrupts it shows the view, not what it is a view of. And a server that is no
        # memcached may repeat what it was sent.
        self.transport.write(memoryview(credentials.map(authentication).reveal()))
        return await self._read_answer() == b"STORED\r\n"

    async def _read_answer(self) -> bytes:
        if self._error is not None:
            raise self._error
        self._answer = self._loop.create_future()
        return await self._answer

    def hand_over(self, connection: MultiplexedConnection) -> MultiplexedConnection:
        """
        Give the transport to a connection that is ready to be shared.
        """
        if self._received or self._error is not None:
            raise self._error or MemcacheUnknownError(NOT_OURS)
        self.transport.set_protocol(connection)
        connection.connection_made(self.transport)
        return connection

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > LONGEST_GREETING:
            self._fail(MemcacheUnknownError(NOT_OURS))
        elif ends_answer(self._received) and self._answer and not self._answer.done():
            self._answer.set_result(self._received)
            self._received = b""

    def eof_received(self) -> None:
        self._fail(MemcacheUnknownError(HUNG_UP))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or MemcacheUnknownError(HUNG_UP))

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
