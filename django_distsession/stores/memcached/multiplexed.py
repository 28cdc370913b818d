"""
One connection to a memcached server for all coroutines of an event loop.

Requests are written as they come, those of one turn of the loop together; replies come back in
that order, and each has to name the key and repeat the opaque token of the request at the head of
the queue. A request that nobody waits for any more stays in the queue: its reply is read and
dropped. What is overdue, or not the reply that is due, ends the connection, and with it everything
that waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

from pymemcache.exceptions import (
    MemcacheError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownError,
)

from .protocol import NOT_OURS, Reply, ServerError, parse_reply

# How many requests may wait for their replies at once. Further ones wait for their turn.
MOST_IN_FLIGHT = 1024


# A request: its reply, how that one's first line ends, and when it is due, by the loop's clock.
Waiting = tuple["asyncio.Future[Reply]", bytes, float]


class MultiplexedConnection(asyncio.Protocol):
    """
    item_limit: the largest item that the server takes, in bytes.
    error: why the connection has come to its end, if it has.
    closed: done when nothing of it is left.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, item_limit: int) -> None:
        self.item_limit = item_limit
        self.error: Exception | None = None
        self.closed: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._opaque = 0
        self._waiting: deque[Waiting] = deque()
        self._outgoing: list[bytes] = []
        self._rest = b""
        self._timer: asyncio.TimerHandle | None = None
        self._is_writable = True
        # Those who wait for their turn.
        self._queue: deque[asyncio.Future[None]] = deque()

    # What coroutines call.

    @property
    def is_full(self) -> bool:
        """
        Whether a request has to wait for its turn.
        """
        return not self._is_writable or len(self._waiting) >= MOST_IN_FLIGHT

    async def wait_for_turn(self, deadline: float) -> None:
        """
        Wait until there is room for one more request. `TimeoutError` if there is none in time.
        """
        while self.is_full and self.error is None:
            turn = self._loop.create_future()
            self._queue.append(turn)
            async with asyncio.timeout_at(deadline):
                await turn

    def send(
        self, key: bytes, command: bytes, body: bytes, deadline: float
    ) -> asyncio.Future[Reply]:
        """
        Send a command of the meta protocol, and return the future of its reply.
        """
        reply: asyncio.Future[Reply] = asyncio.Future(loop=self._loop)
        if self.error is not None:
            reply.set_exception(self.error)
            return reply
        self._opaque += 1
        outgoing = self._outgoing
        if not outgoing:
            self._loop.call_soon(self._flush)
        outgoing.append(b"%b k O%d\r\n%b" % (command, self._opaque, body))
        ending = b" k%b O%d" % (key, self._opaque)
        self._waiting.append((reply, ending, deadline))
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._look_for_overdue)
        return reply

    def close(self, error: Exception | None = None) -> None:
        """
        Close the connection. What waits for it fails.
        """
        self._fail(error or ConnectionAbortedError("The connection was closed."))

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        try:
            self._rest = data[self._read(data) :]
        except (MemcacheError, ValueError, LookupError) as error:
            self._fail(error)

    def eof_received(self) -> None:
        self._fail(MemcacheUnexpectedCloseError())

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or MemcacheUnexpectedCloseError())
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._is_writable = False

    def resume_writing(self) -> None:
        self._is_writable = True
        self._call_next()

    def _flush(self) -> None:
        if self._transport is not None and self._outgoing:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _read(self, data: bytes) -> int:
        """
        Take whole replies from `data`, and return where the first one begins that is not whole.
        """
        start, size = 0, len(data)
        waiting = self._waiting
        while start < size:
            if not waiting:
                raise MemcacheUnknownError(NOT_OURS)
            reply, ending, _ = waiting[0]
            try:
                parsed = parse_reply(data, start, ending, self.item_limit)
            except ServerError as error:
                # It answers this one, and the next ones.
                waiting.popleft()
                if not reply.done():
                    reply.set_exception(error)
                start = data.index(b"\r\n", start) + 2
                continue
            if parsed is None:
                break
            waiting.popleft()
            answer, start = parsed
            if not reply.done():
                reply.set_result(answer)
        if self._queue:
            self._call_next()
        return start

    def _look_for_overdue(self) -> None:
        self._timer = None
        if self._waiting:
            _, _, due = self._waiting[0]
            if due <= self._loop.time():
                self._fail(TimeoutError("timed out"))
            else:
                self._timer = self._loop.call_at(due, self._look_for_overdue)

    def _call_next(self) -> None:
        while self._queue and not self.is_full:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                # It sends before anybody else is called.
                self._loop.call_soon(self._call_next)
                return

    def _fail(self, error: Exception) -> None:
        if self.error is not None:
            return
        self.error = error
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        for reply, _, _ in self._waiting:
            if not reply.done():
                reply.set_exception(error)
        self._waiting.clear()
        self._outgoing.clear()
        for turn in self._queue:
            if not turn.done():
                turn.set_result(None)
        self._queue.clear()
