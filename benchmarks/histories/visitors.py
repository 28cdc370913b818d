"""
The requests that one process is sent.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.histories.faults import Excuses
from benchmarks.histories.model import NUMBER, Harm, Model, Session
from testproject.workers import Answer, Worker

# The first sessions are those that all processes fight for.
HOT = 3
# How many ended sessions are looked at again.
REMEMBERED = 40
# Between loading a session and saving it.
LONGEST_PAUSE = 0.004
# Whoever was refused tries again after so long.
AFTER_REFUSAL = 0.02


@dataclass(slots=True)
class Site:
    """
    What all visitors share. `lock` guards the model, the sessions and the counts.
    """

    model: Model
    excuses: Excuses
    limit: int
    sessions: list[Session] = field(default_factory=list)
    ended: deque[Session] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: threading.Event = field(default_factory=threading.Event)
    made: int = 0
    requests: int = 0
    refused: int = 0
    # How often all processes were told to find out which servers are back.
    calls: int = 0

    def everybody(self) -> list[Session]:
        with self.lock:
            return [*self.sessions, *self.ended]


class Visitor:
    """
    Sends one process one request after the other. What it chooses depends on the seed alone.
    """

    def __init__(self, number: int, worker: Worker, site: Site, seed: int) -> None:
        self.number = number
        self.who = f"w{number}"
        # How often it was told to recover, and how many requests it made.
        self.calls = 0
        self.visits = 0
        self._worker = worker
        self._site = site
        self._choose = random.Random(f"{seed}.{number}")
        self._kinds: dict[Callable[[Session], None], float] = {
            self.look: 0.45,
            self._change: 0.30,
            self._contend: 0.17,
            self._look_at_ended: 0.05,
            self._end: 0.03,
        }

    def work(self) -> None:
        """
        Go on until there were enough requests.
        """
        site = self._site
        try:
            while not site.stopped.is_set():
                if self.calls < site.calls:
                    self._worker.do("recover")
                    self.calls += 1
                refused = site.refused
                self._visit()
                self.visits += 1
                if site.refused > refused:
                    site.stopped.wait(AFTER_REFUSAL)
                with site.lock:
                    site.requests += 1
                    if site.requests >= site.limit:
                        site.stopped.set()
        finally:
            site.stopped.set()

    def _visit(self) -> None:
        kinds = list(self._kinds)
        [visit] = self._choose.choices(kinds, list(self._kinds.values()))
        sessions = self._site.sessions
        hot = visit == self._contend or self._choose.random() < 0.3
        slot = self._choose.randrange(HOT if hot else len(sessions))
        with self._site.lock:
            session = sessions[slot]
        if session.lost:
            self._replace(session)
        else:
            visit(session)

    def start(self) -> Session | None:
        """
        Make a new session.
        """
        site = self._site
        with site.lock:
            site.made += 1
            number = site.made
        began = time.monotonic()
        answer = self._worker.ask("create", {NUMBER: number})
        session = Session(number, answer.result or "")
        with site.lock:
            if answer.error is not None:
                self._failed(session, began, answer.error)
                return None
            site.model.note(session, f"{self.who} made it")
        return session

    def look(self, session: Session, *, final: bool = False) -> None:
        """
        Read a session.
        """
        before, answer, began = self._ask(session, "read", session.key)
        with self._site.lock:
            if answer.error is not None:
                self._failed(session, began, answer.error)
                return
            self._site.model.note(session, f"{self.who} reads {answer.result}{took(began)}")
            self._site.model.loaded(session, before, answer.result, final=final)

    def _look_at_ended(self, session: Session) -> None:
        ended = self._site.ended
        with self._site.lock:
            if ended:
                session = self._choose.choice(ended)
        self.look(session)

    def _contend(self, session: Session) -> None:
        self._change(session, contend=True)

    def _change(self, session: Session, contend: bool = False) -> None:
        site, model = self._site, self._site.model
        with site.lock:
            number = session.sent.get(self.who, 0) + 1
            model.sent(session, self.who, number)
        pause = self._choose.uniform(0, LONGEST_PAUSE) if self._choose.random() < 0.5 else 0.0
        name = f"{self.who}.{number}" if contend else None
        arguments = (session.key, {self.who: number}, name, pause)
        before, answer, began = self._ask(session, "change", *arguments)
        with site.lock:
            if answer.error is not None:
                self._failed(session, began, answer.error)
                return
            seen, outcome = answer.result["seen"], answer.result["outcome"]
            verb = "claims" if contend else "changes"
            text = f"{self.who} {verb} {number} having seen {seen}: {outcome}{took(began)}"
            model.note(session, text)
            if contend and seen:
                model.claimed(session, self.who, number, seen)
            if outcome == "unavailable":
                self._failed(session, began, answer.result["error"])
            if seen:
                model.loaded(session, before, seen)
            if outcome == "gone":
                model.loaded(session, before, {})
            if outcome == "saved":
                model.acknowledged(session, self.who, number)

    def _end(self, session: Session) -> None:
        site = self._site
        with site.lock:
            session.ending = True
        _, answer, began = self._ask(session, "flush", session.key)
        with site.lock:
            if answer.error is not None:
                # It may or may not have ended.
                self._failed(session, began, answer.error)
            else:
                session.ended = True
                site.ended.append(session)
            text = f"{self.who} ends it: {answer.error or 'done'}{took(began)}"
            site.model.note(session, text)
        self._replace(session)

    def _replace(self, session: Session) -> None:
        new = self.start()
        with self._site.lock:
            if new is not None and session in self._site.sessions:
                self._site.sessions[self._site.sessions.index(session)] = new

    def _ask(self, session: Session, *operation: Any) -> tuple[Any, Answer, float]:
        site = self._site
        with site.lock:
            before = site.model.begin(session)
        began = time.monotonic()
        return before, self._worker.ask(*operation), began

    def _failed(self, session: Session, began: float, error: str) -> None:
        if self._site.excuses.cover(self.number, began):
            self._site.refused += 1
        else:
            self._site.model.report(Harm.ERROR, session, f"{self.who}: {error}{took(began)}")


def took(began: float) -> str:
    """
    Return how long a request took that just ended, for a history.
    """
    return f" ({1000 * (time.monotonic() - began):.0f} ms)"
