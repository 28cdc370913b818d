"""
Many saves of one session at once, in one process: how long do they take, and what do others feel?
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from django.contrib.sessions.backends.base import SessionBase

from benchmarks.engines.sessions import new_sessions
from benchmarks.ratios import Verdict
from benchmarks.sample import change

CONTENDER = "couchdb"
SAVES = 64
# Each is a second or so.
MOST_ROUNDS = 5
LABEL = f"load + save: {CONTENDER} beside {SAVES} saves of another session at once / alone"


@dataclass(frozen=True, slots=True)
class Crowd:
    """
    Microseconds. alone, beside: a load and save of some session, medians, alone and while a crowd
    saves another one. longest: the longest load and save among the crowd.
    """

    alone: float
    beside: float
    longest: float

    @property
    def verdict(self) -> Verdict:
        return Verdict(LABEL, self.beside / self.alone, None)


def measure(*, rounds: int, batch: int) -> Crowd:
    from django_distsession.backends.couchdb import SessionStore

    wanted, own = new_sessions(SessionStore, 2)
    alone: list[float] = []
    beside: list[float] = []
    crowd: list[float] = []
    with ThreadPoolExecutor(SAVES) as threads:
        for _ in range(min(rounds, MOST_ROUNDS)):
            alone += [_timed(lambda: _save(SessionStore, own)) for _ in range(batch)]
            ready = threading.Barrier(SAVES + 1)
            saves = [
                threads.submit(_save_at_once, SessionStore, wanted, ready) for _ in range(SAVES)
            ]
            ready.wait()
            while not all(save.done() for save in saves):
                beside.append(_timed(lambda: _save(SessionStore, own)))
            crowd += [save.result() for save in saves]
    return Crowd(*(1e6 * seconds for seconds in (median(alone), median(beside), max(crowd))))


def _save_at_once(store: type[SessionBase], key: str, ready: threading.Barrier) -> float:
    ready.wait()
    return _timed(lambda: _save(store, key))


def _save(store: type[SessionBase], key: str) -> None:
    session = store(key)
    change(session)
    session.save()


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
