"""
What belongs to one event loop, and is closed with it. And time-outs on loops that may be blocked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from . import forking

# How late a timer may be, in seconds, before the loop counts as having been blocked until then.
LATE = 0.005

# After that it is given so much time, in seconds, to read what arrived and send what had not left.
CATCH_UP = 0.02

# A blocked loop costs no more than so much of a time-out, in seconds.
SLICE = 0.1


class FairTimeout:
    """
    As `asyncio.timeout`, for what is awaited from elsewhere: while the loop is blocked, nothing of
    it is read, and such time does not count.
    """

    def __init__(self, seconds: float) -> None:
        self._left = max(seconds, 0.0)

    async def __aenter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        await self._timeout.__aenter__()
        self._next()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, traceback)

    def _next(self) -> None:
        part = min(self._left, SLICE)
        self._left -= part
        self._due = self._loop.time() + part
        self._timer = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        now = self._loop.time()
        if self._left <= 0 and now - self._due > LATE:
            # The answer may have arrived, or the question not have left yet.
            self._left = CATCH_UP
        if self._left > 0:
            self._next()
        else:
            self._timeout.reschedule(now)


class Closable(Protocol):
    """
    Something that a loop has to close before it ends.
    """

    def close(self) -> None:
        """
        Close it, as far as that can be done at once. It may be used again.
        """

    async def aclose(self) -> None:
        """
        Close it, and wait until nothing is left of it.
        """


C = TypeVar("C", bound=Closable)


class PerLoop(Generic[C]):
    """
    One object for each running event loop.

    make: makes one; it is called in its loop. The loop closes it before its own end: by
    `shutdown_asyncgens`, which `asyncio.run` and whatever is made with it call.
    """

    def __init__(self, make: Callable[[], C]) -> None:
        self._make = make
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Forget all: no loop goes on running in a forked child.
        """
        self._made: dict[asyncio.AbstractEventLoop, tuple[C, AsyncGenerator[None, None]]] = {}

    def get(self, loop: asyncio.AbstractEventLoop) -> C:
        """
        Return that of a loop, which has to be the running one.
        """
        known = self._made.get(loop)
        if known is not None:
            return known[0]
        self._forget_closed_loops()
        made = self._make()
        closing = self._close_in_the_end(loop, made)
        # The loop takes note of a generator when its first step is asked for.
        with suppress(StopIteration):
            closing.__anext__().send(None)
        self._made[loop] = made, closing
        return made

    def close(self) -> None:
        """
        Have each loop close its own, in any thread.
        """
        for loop, (made, _) in list(self._made.items()):
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(made.close)

    async def _close_in_the_end(
        self, loop: asyncio.AbstractEventLoop, made: C
    ) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._made.pop(loop, None)
            await made.aclose()

    def _forget_closed_loops(self) -> None:
        # Those that were closed and not shut down before.
        for loop in list(self._made):
            if loop.is_closed():
                self._made.pop(loop, None)
