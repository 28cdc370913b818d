"""
Whether all places of a pool are still to be had.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# A pool that lacks a place lacks it each time; a machine that is busy makes somebody wait now and
# then.
TRIES = 10
# A load that takes so many round trips will never end.
PATIENCE = 30


def lost_places(load: Callable[[], object], size: int, round_trip: float) -> int:
    """
    Return how many of as many loads at once as the pool has places had to wait for one.

    round_trip: the seconds that a load takes for which a connection is open, by links that are so
    slow that all loads meet.
    """
    lost, patience = size, PATIENCE * round_trip
    # Connections that have yet to be made take round trips of their own.
    _at_once(load, size, patience)
    for _ in range(TRIES):
        times = _at_once(load, size, patience)
        lost = min(lost, sum(seconds > 1.7 * round_trip for seconds in times))
        if not lost:
            break
    return lost


def _at_once(load: Callable[[], object], size: int, patience: float) -> list[float]:
    start, times = threading.Barrier(size), []

    def timed() -> None:
        start.wait()
        began = time.monotonic()
        load()
        times.append(time.monotonic() - began)

    threads = [threading.Thread(target=timed, daemon=True) for _ in range(size)]
    for thread in threads:
        thread.start()
    over = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, over - time.monotonic()))
    return times + [float("inf")] * (size - len(times))
