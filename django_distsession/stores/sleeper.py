"""
Somebody who sleeps until he is woken.
"""

from __future__ import annotations

import threading
from contextlib import suppress


class Sleeper:
    """
    For one thread, once. Made of a plain lock, since exceptions thrown into a thread can leave that
    of a `threading.Condition` or an `Event` held for ever.
    """

    __slots__ = ("_asleep",)

    def __init__(self) -> None:
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def sleep(self, seconds: float) -> bool:
        """
        Return whether somebody woke this one in time.
        """
        return self._asleep.acquire(timeout=max(seconds, 0.0))

    def wake(self) -> None:
        """
        Wake it, also if it has yet to go to sleep.
        """
        # Woken twice is woken.
        with suppress(RuntimeError):
            self._asleep.release()
