"""
Waiting for what somebody else brings to an end: threads and coroutines alike.

Exceptions out of signal handlers, or thrown into a thread, come between any two steps of the
interpreter, and a coroutine may be cancelled wherever it waits. So nothing here is locked, and
whoever waits looks for himself now and then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from .deadline import Deadline
from .sleeper import Sleeper

# How often whoever waits looks for himself, in seconds.
LOOK_AGAIN = 0.05


class Milestone:
    """
    Something that comes to an end once. is_over: whether it has.
    """

    __slots__ = ("_waiting", "is_over")

    def __init__(self) -> None:
        self.is_over = False
        self._waiting: deque[Callable[[], object]] = deque()

    def notify(self, wake: Callable[[], object]) -> None:
        """
        Have `wake` called once it is over, at once if it is, in whatever thread that happens.
        """
        self._waiting.append(wake)
        if self.is_over:
            wake()

    def finish(self) -> None:
        """
        Wake all who wait.
        """
        self.is_over = True
        while self._waiting:
            try:
                self._waiting.popleft()()
            except IndexError:
                return


class Wait:
    """
    A request to wait until a milestone is over, or the deadline is. Its result: whether the
    milestone is. Who is cancelled just leaves.
    """

    __slots__ = ("deadline", "milestone")

    def __init__(self, milestone: Milestone, deadline: Deadline) -> None:
        self.milestone = milestone
        self.deadline = deadline

    def perform(self) -> bool:
        milestone, deadline = self.milestone, self.deadline
        sleeper = Sleeper()
        milestone.notify(sleeper.wake)
        while not milestone.is_over and (left := deadline.left) > 0:
            sleeper.sleep(min(left, LOOK_AGAIN))
        return milestone.is_over

    async def aperform(self) -> bool:
        milestone, deadline = self.milestone, self.deadline
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            # The loop may have come to its end.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(woken.set)

        milestone.notify(wake)
        while not milestone.is_over and (left := deadline.left) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_AGAIN)):
                    await woken.wait()
        return milestone.is_over
