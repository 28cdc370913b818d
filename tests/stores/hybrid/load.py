"""
Users who keep clicking while servers come and go, and a record of what they were told.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.contrib.sessions.backends.base import UpdateError

from django_distsession.backends.base import StoreBackedSession
from django_distsession.exceptions import StoreUnavailable
from tests.driving import Driver

Process = type[StoreBackedSession]

THREADS = 4
SESSIONS = 6
PATIENCE = 60


class Load:
    """
    processes: as many web processes, as far as sessions can tell. stale_after: how old an
    acknowledged change may be, in seconds, that a read does not show.
    """

    def __init__(self, processes: Sequence[Process], drive: Driver, stale_after: float = 0) -> None:
        self._drive = drive
        self.processes = processes
        self.stale_after = stale_after
        # Per session key: when each change was acknowledged.
        self.acknowledged: dict[str, dict[str, float]] = {}
        # When the end of a session was asked for, and when it was acknowledged.
        self.ending: set[str] = set()
        self.ended: dict[str, float] = {}
        self.lost: list[str] = []
        self.stale: list[str] = []
        self.resurrected: list[str] = []
        self.failed_reads: list[str] = []
        self.refused_writes = 0
        self.rounds = [0] * THREADS
        self._stopped = False
        self._progress = threading.Condition()
        self._errors: list[BaseException] = []
        for _ in range(SESSIONS):
            self._login(processes[0])

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._work, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped = True
            for thread in threads:
                thread.join()
        if self._errors:
            raise self._errors[0]

    def go_on(self, rounds: int = 8) -> None:
        """
        Return when every user has clicked so many times more.
        """
        goals = [done + rounds for done in self.rounds]

        def arrived() -> bool:
            pairs = zip(self.rounds, goals, strict=True)
            return bool(self._errors) or all(done >= goal for done, goal in pairs)

        with self._progress:
            assert self._progress.wait_for(arrived, PATIENCE), "the users are stuck"

    def look_at_all(self) -> None:
        """
        Look at every session, by every process.
        """
        for key in list(self.acknowledged):
            for process in self.processes:
                self._look(process, key)

    def check(self) -> None:
        """
        Look once more, and compare what was ever seen with what users were told.
        """
        self.look_at_all()
        counts = {
            "lost": self.lost,
            "stale": self.stale,
            "resurrected": self.resurrected,
            "failed reads": self.failed_reads,
        }
        assert not any(counts.values()), counts

    def sync(self) -> None:
        """
        What `repairsessions` does for sessions that nobody touches.
        """
        for key in list(self.acknowledged):
            self.processes[0].get_store().sync(self.processes[0].storage_id(key))  # type: ignore[attr-defined]

    def _work(self, number: int) -> None:
        choose = random.Random(number)
        process = self.processes[number % len(self.processes)]
        try:
            with self._drive.in_this_thread():
                self._click(number, process, choose)
        except BaseException as error:
            with self._progress:
                self._errors.append(error)
                self._progress.notify_all()
            raise

    def _click(self, number: int, process: Process, choose: random.Random) -> None:
        while not self._stopped:
            self._round(process, choose, f"{number}.{self.rounds[number]}")
            with self._progress:
                self.rounds[number] += 1
                self._progress.notify_all()

    def _round(self, process: Process, choose: random.Random, name: str) -> None:
        key = choose.choice(list(self.acknowledged))
        session = self._look(process, key)
        if session is None:
            return
        kind = choose.random()
        if kind < 0.7:
            self._save(session, key, name)
        elif kind < 0.74:
            self._logout(session, key)
            self._login(process)

    def _look(self, process: Process, key: str) -> StoreBackedSession | None:
        bound = time.monotonic() - self.stale_after
        required = {name for name, at in list(self.acknowledged[key].items()) if at <= bound}
        is_over = self.ended.get(key, float("inf")) <= bound
        session = process(key)
        try:
            shown = self._drive(session.keys)
        except StoreUnavailable as error:
            self.failed_reads.append(f"{key}: {error}")
            return None
        if session.session_key is None:
            if key not in self.ending:
                self.lost.append(key)
            return None
        if is_over:
            self.resurrected.append(key)
        if not required <= shown:
            self.stale.append(f"{key}: {sorted(required - shown)}")
        return session

    def _save(self, session: StoreBackedSession, key: str, name: str) -> None:
        try:
            self._drive(session.update, {name: 1})
            self._drive(session.save)
        except StoreUnavailable:
            self.refused_writes += 1
        except UpdateError:
            if key not in self.ending:
                self.lost.append(key)
        else:
            self.acknowledged[key][name] = time.monotonic()

    def _logout(self, session: StoreBackedSession, key: str) -> None:
        self.ending.add(key)
        try:
            self._drive(session.flush)
        except StoreUnavailable:
            self.refused_writes += 1
        else:
            self.ended[key] = time.monotonic()

    def _login(self, process: Process) -> None:
        session = process()
        try:
            self._drive(session.create)
        except StoreUnavailable:
            self.refused_writes += 1
        else:
            self.acknowledged[session.session_key or ""] = {}
