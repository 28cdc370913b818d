"""
Exceptions that come between any two steps of a reader who shares a read.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from django_distsession.stores import sleeper
from django_distsession.stores.hybrid.single_flight import SingleFlight
from tests.stores.hybrid.conftest import SOON, do
from tests.stores.hybrid.fakes import Killed

STORES = str(Path(sleeper.__file__).parent)


class Interruption:
    """
    Runs something in this thread, and raises `Killed` at the n-th line of the package that it gets
    to, be that in a `finally` or a `__del__`.
    """

    def __init__(self, at: int) -> None:
        self._left = at
        self.came = False

    def run(self, action: Callable[[], object]) -> None:
        sys.settrace(self._trace)
        try:
            action()
        except Killed:
            pass
        finally:
            sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith((STORES, contextlib.__file__)):
            return None
        if event == "line" and not self.came:
            self._left -= 1
            if self._left == 0:
                self.came = True
                raise Killed
        return self._trace


def run_interrupted(at: int, ahead: int, pool: ThreadPoolExecutor) -> bool:
    """
    Let one reader be interrupted, before whom others began, and behind whom another one waits.

    ahead: how many of them. Returns whether it got so far.
    """
    flights: SingleFlight[str] = SingleFlight()
    is_over = threading.Event()

    def wait_until(is_so: Callable[[], object]) -> None:
        while not is_so() and not is_over.is_set():
            os.sched_yield()

    def slow() -> str:
        running = flights._calls["key"]
        following = running.following
        # Until the reader that is interrupted waits, or for the one behind if it leads.
        wait_until(lambda: following and (ahead == 1 or following[None]._waiting))
        return "slow"

    def own() -> str:
        others.append(pool.submit(do, flights, lambda: "behind", lambda: "behind"))
        if ahead == 0:
            wait_until(lambda: flights._calls["key"].following)
        return "own"

    others = [pool.submit(do, flights, slow, slow)] if ahead else []
    wait_until(lambda: flights._calls or not ahead)
    if ahead == 2:
        others.append(pool.submit(do, flights, lambda: "next", lambda: "next"))
        wait_until(lambda: flights._calls["key"].following)
    interruption = Interruption(at)
    interruption.run(lambda: do(flights, own, own))
    is_over.set()
    assert {other.result(SOON / 2) for other in others} <= {"slow", "behind", "next"}
    assert not flights._calls
    assert do(flights, lambda: "after", lambda: "waited") == "after"
    return interruption.came


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_wherever_a_reader_is_interrupted_nobody_waits_for_it_and_nothing_stays(
    ahead: int,
) -> None:
    at = 1
    with ThreadPoolExecutor(3) as pool:
        while run_interrupted(at, ahead, pool):
            at += 1
    # Some of them in the constructors, some while the reader waits, some while it ends.
    assert at > 30
