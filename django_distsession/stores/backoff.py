"""
Pausing before a compare-and-swap is tried again, so that those who fight for one record take turns.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

# Seconds.
FIRST_PAUSE = 0.004
LONGEST_PAUSE = 0.1


def delay(
    attempt: int,
    *,
    longest: float = LONGEST_PAUSE,
    uniform: Callable[[float, float], float] = random.uniform,
) -> float:
    """
    Return how long to pause, in seconds: a random time, up to `longest` after many attempts.

    "Full jitter": Brooker, "Exponential backoff and jitter", 2015.
    """
    return uniform(0.0, min(FIRST_PAUSE * 2 ** min(attempt, 10), longest))


def pause(
    attempt: int,
    *,
    longest: float = LONGEST_PAUSE,
    uniform: Callable[[float, float], float] = random.uniform,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """
    Sleep as long as `delay` says.
    """
    sleep(delay(attempt, longest=longest, uniform=uniform))
