"""
What happens to the users of several processes when server A fails and comes back, every session is
read by the one process that knows of it, and then server B fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from benchmarks.double_fault.sites import LATE, SOON, Site
from testproject.workers import Worker

# One of so many users logs out in each outage.
LEAVING = 10


@dataclass(slots=True)
class User:
    number: int
    key: str
    expected: dict[str, Any]
    is_out: bool = False


@dataclass(slots=True)
class Harm:
    """
    requests: since the second fault began. errors: those among all requests that raised, by what
    they said. All but `requests` is to be zero.
    """

    requests: int = 0
    stale: int = 0
    logged_in_again: int = 0
    logged_out: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def counts(self) -> tuple[int, int, int, int]:
        return len(self.errors), self.stale, self.logged_in_again, self.logged_out


@dataclass(slots=True)
class Scenario:
    """
    workers: of which the first learns soon that a server is back, and the others do not.
    """

    workers: Sequence[Worker]
    site: Site
    users: list[User] = field(default_factory=list)
    harm: Harm = field(default_factory=Harm)
    turn: int = 0

    def run(self, sessions: int, gap: float = 0.0) -> Harm:
        """
        gap: seconds between the first server's return, once noticed, and the second fault.
        """
        (begin_first, end_first), (begin_second, end_second) = self.site.faults
        for number, worker in enumerate(self.workers):
            retry_after = LATE if number else SOON
            worker.do("configure", self.site.engine, self.site.settings(retry_after))
        self._arrive(sessions)
        begin_first()
        try:
            self._round(self._change_or_leave)
        finally:
            end_first()
        if not self.site.serves:
            self.harm = Harm()
        self._repair()
        time.sleep(gap)
        self.harm.requests = 0
        begin_second()
        try:
            self._round(self._change_or_leave)
            self._round(self._look)
            self._round(self._look)
        finally:
            end_second()
        return self.harm

    def _arrive(self, sessions: int) -> None:
        for number in range(sessions):
            values = {"user": number}
            key = self._at(number).do("create", values)
            self.users.append(User(number, key, values))

    def _at(self, number: int) -> Worker:
        return self.workers[(number + self.turn) % len(self.workers)]

    def _round(self, visit: Callable[[Worker, User], None]) -> None:
        """
        Let each user visit one process, and another one each round. All processes work at once.
        """
        self.turn += 1

        def serve(worker: Worker) -> None:
            for user in self.users:
                if self._at(user.number) is worker:
                    visit(worker, user)

        with ThreadPoolExecutor(len(self.workers)) as threads:
            list(threads.map(serve, self.workers))
        self.harm.requests += len(self.users)

    def _change_or_leave(self, worker: Worker, user: User) -> None:
        if user.is_out:
            self._look(worker, user)
        elif user.number % LEAVING == self.turn % LEAVING:
            if self._ask(worker, "flush", user.key) is not None:
                user.is_out = True
        else:
            values = {"last": self.turn, f"k{self.turn}": self.turn}
            answer = self._ask(worker, "change", user.key, values)
            if answer is None:
                return
            outcome, seen = answer["outcome"], answer["seen"]
            if seen or outcome == "gone":
                self._compare(user, seen)
            if outcome == "saved":
                user.expected.update(values)
            elif outcome == "unavailable":
                self.harm.errors.append(answer["error"])
                # It may have been saved all the same.
                user.expected.pop("last", None)

    def _look(self, worker: Worker, user: User) -> None:
        answer = self._ask(worker, "read", user.key)
        if answer is not None:
            self._compare(user, answer)

    def _compare(self, user: User, seen: dict[str, Any]) -> None:
        if user.is_out:
            self.harm.logged_in_again += bool(seen)
        elif not seen:
            self.harm.logged_out += 1
        else:
            self.harm.stale += not user.expected.items() <= seen.items()

    def _ask(self, worker: Worker, *operation: Any) -> Any:
        """
        Return a result, an empty dict where there is none, None after an error.
        """
        answer = worker.ask(*operation)
        if answer.error is not None:
            self.harm.errors.append(answer.error)
            return None
        return answer.result or {}

    def _repair(self) -> None:
        first = self.workers[0]
        first.do("recover")
        for user in self.users:
            self._look(first, user)
