"""
Users whose requests are interrupted, and what they notice of it. Of threads and greenlets nothing
is known here.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Interrupted(BaseException):
    """
    As a worker's time-out, which nothing in between may catch.
    """


class TimeLimit(Exception):
    """
    As Celery's soft time limit, which looks like any other error.
    """


INTERRUPTIONS = (Interrupted, TimeLimit)


@dataclass(slots=True)
class Notes:
    """
    thrown: interruptions that were sent. met: those that hit a request. wrong: what was read was
    not this user's, or older than what this user had saved. errors: anything else that was raised.
    """

    thrown: int = 0
    met: int = 0
    requests: int = 0
    wrong: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class User:
    """
    began: when the present request did; None between requests. turn, saved: of the latest save
    that was sent, and that was acknowledged.
    """

    number: int
    session_class: Any
    notes: Notes
    is_over: Callable[[], bool]
    key: str = ""
    began: float | None = None
    saved: int = 0
    turns: Any = field(default_factory=lambda: itertools.count(1))

    def arrive(self) -> None:
        session = self.session_class()
        session.update({"user": self.number, "turn": 0})
        session.save()
        self.key = session.session_key

    def work(self) -> None:
        """
        Make requests until all is over, whatever interrupts them.
        """
        while not self.is_over():
            try:
                # An interruption may come between any two of these statements, and another one
                # while the first is caught: hence a loop within a loop.
                while not self.is_over():
                    self._visit()
            except INTERRUPTIONS:
                self.began = None

    def _visit(self) -> None:
        self.began = time.monotonic()
        try:
            self.request()
        except INTERRUPTIONS:
            self.notes.met += 1
        except Exception as error:
            self.notes.errors[f"{type(error).__name__}: {error}"[:200]] += 1
        self.began = None
        self.notes.requests += 1

    def look(self) -> Any:
        """
        Read, compare, and return the session.
        """
        session = self.session_class(self.key)
        seen = dict(session.items())
        if seen.get("user") != self.number or seen["turn"] < self.saved:
            self.notes.wrong.append(f"user {self.number} had saved {self.saved}, and read {seen}")
        return session

    def request(self) -> None:
        """
        Look, change and save.
        """
        session, turn = self.look(), next(self.turns)
        session["turn"] = turn
        session.save()
        self.saved = turn
