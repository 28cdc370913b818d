"""
When an operation of a store is over, whatever its servers do.

A time-out begins anew with each call, and a server that sends a byte now and then is never late.
So an operation is given one deadline, and all that it does shares it: name look-up, connecting,
TLS, waiting for a connection of a full pool, every retry.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Deadline:
    """
    A moment, `seconds` from now.
    """

    __slots__ = ("at", "clock")

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        # By that clock.
        self.at = clock() + seconds

    @property
    def left(self) -> float:
        """
        The seconds that are left; negative once it is over.
        """
        return self.at - self.clock()

    def require(self) -> float:
        """
        Return the seconds that are left. `TimeoutError` if there are none.
        """
        left = self.at - self.clock()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def within(self, seconds: float) -> Deadline:
        """
        Return the deadline of a part that may take so many seconds, and no longer than the whole.
        """
        left = self.left
        return self if left <= seconds else Deadline(seconds, self.clock)

    def share(self, parts: int) -> Deadline:
        """
        Return the deadline of the first of so many parts that come one after the other.
        """
        return self if parts <= 1 else Deadline(max(self.left, 0.0) / parts, self.clock)
