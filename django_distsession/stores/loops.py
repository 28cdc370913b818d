"""
What belongs to one event loop, and is closed with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from . import forking


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
