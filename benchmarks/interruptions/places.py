"""
Whether all places of a pool are still to be had.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# A pool that lacks a place lacks it each time; a machine that is busy makes somebody wait now and
# then.
TRIES = 4


def lost_places(load: Callable[[], object], size: int, round_trip: float) -> int:
    """
    Return how many of as many loads at once as the pool has places had to wait for one.

    round_trip: the seconds that a load takes for which a connection is open. There must be a
    thread's worth of links that are slow, or else nobody meets anybody.
    """
    lost = size
    # Connections that have yet to be made take round trips of their own.
    _at_once(load, size)
    for _ in range(TRIES):
        times = _at_once(load, size)
        lost = min(lost, sum(seconds > 1.7 * round_trip for seconds in times))
    return lost


def _at_once(load: Callable[[], object], size: int) -> list[float]:
    start, times = threading.Barrier(size), []

    def timed() -> None:
        start.wait()
        began = time.monotonic()
        load()
        times.append(time.monotonic() - began)

    threads = [threading.Thread(target=timed) for _ in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times + [float("inf")] * (size - len(times))
