"""
Pausing before a compare-and-swap is tried again, so that those who fight for one record take turns.
"""

from __future__ import annotations

import random
from collections.abc import Callable

# Seconds.
FIRST_PAUSE = 0.004
LONGEST_PAUSE = 0.1


def delay(
    attempt: int,
    *,
    first: float = FIRST_PAUSE,
    longest: float = LONGEST_PAUSE,
    uniform: Callable[[float, float], float] = random.uniform,
) -> float:
    """
    Return a random time to pause for: up to `first` seconds at attempt 0, up to `longest` after
    many.

    "Full jitter": Brooker, "Exponential backoff and jitter", 2015.
    """
    return uniform(0.0, min(first * 2 ** min(attempt, 10), longest))
