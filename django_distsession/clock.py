"""
The time, handed in to whatever needs it, so that a test can hand in its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """
    now: in seconds since the epoch. monotonic: in seconds, from any moment on; it never goes back.
    """

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


SYSTEM_CLOCK = Clock()
