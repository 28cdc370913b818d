"""
Users in threads, one of them the main thread, where signal handlers run.
"""

from __future__ import annotations

import ctypes
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from types import FrameType

from benchmarks.interruptions.users import INTERRUPTIONS, Interrupted, Notes, User

LONGEST_PAUSE = 0.0005
# A signal comes so many seconds after the one before, at the latest.
LONGEST_TIMER = 0.02
POLL_INTERVAL = 0.01


class Driver:
    """
    users: the first one works in the main thread. hang_after: the seconds after which a request
    never ends.
    """

    def __init__(
        self,
        users: Sequence[User],
        notes: Notes,
        exceptions: int,
        seconds: float,
        hang_after: float,
    ) -> None:
        self._users = users
        self._notes = notes
        self._exceptions = exceptions
        self._over_at = time.monotonic() + seconds
        self._hang_after = hang_after
        self._threads: dict[int, threading.Thread] = {}
        self._choose = random.Random(exceptions)
        self._until_signal = random.Random(exceptions + 1)
        self.stopped = False
        # Where requests hang.
        self.hung: list[str] = []

    def is_over(self) -> bool:
        return self.stopped

    def run(self) -> None:
        """
        Return when enough was thrown, or a request hangs.
        """
        threading.excepthook = lambda _: None
        for number in range(1, len(self._users)):
            self._start(number)
        thrower = threading.Thread(target=self._throw, daemon=True)
        thrower.start()
        signal.signal(signal.SIGALRM, self._signalled)
        self._wind()
        while not self.stopped:
            # The handler's exception may come anywhere.
            try:
                self._users[0].work()
            except INTERRUPTIONS:
                continue
        while True:
            try:
                signal.signal(signal.SIGALRM, signal.SIG_IGN)
                break
            except INTERRUPTIONS:
                continue
        thrower.join(2 * self._hang_after)
        self._await_end()

    def _start(self, number: int) -> None:
        thread = threading.Thread(target=self._users[number].work, daemon=True)
        self._threads[number] = thread
        thread.start()

    def _throw(self) -> None:
        while not self.stopped:
            time.sleep(self._choose.uniform(0, LONGEST_PAUSE))
            number = self._choose.randrange(1, len(self._users))
            thread = self._threads[number]
            if not thread.is_alive():
                # It was hit where nothing could catch it.
                self._start(number)
            elif self._users[number].began is not None and thread.ident is not None:
                exception = ctypes.py_object(self._choose.choice(INTERRUPTIONS))
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), exception)
                self._notes.thrown += 1
            self.hung = self._find_hung()
            is_enough = self._notes.met >= self._exceptions or time.monotonic() > self._over_at
            self.stopped = is_enough or bool(self.hung)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._notes.thrown += 1
        self._wind()
        raise Interrupted

    def _wind(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._until_signal.uniform(0.0001, LONGEST_TIMER))

    def _await_end(self) -> None:
        """
        Let all finish the request that they are in.
        """
        over = time.monotonic() + self._hang_after
        for thread in self._threads.values():
            thread.join(max(0.0, over - time.monotonic()))
        self.hung = self.hung or [
            where(thread) for thread in self._threads.values() if thread.is_alive()
        ]

    def _find_hung(self) -> list[str]:
        now = time.monotonic()
        lasted = {user.number: now - (user.began or now) for user in self._users}
        if max(lasted.values()) < self._hang_after:
            return []
        # Others may wait for the same.
        return [
            where(self._threads.get(number, threading.main_thread()))
            for number, seconds in lasted.items()
            if seconds > self._hang_after / 2
        ]


def where(thread: threading.Thread) -> str:
    """
    Return where a thread is, as far as this is in one of our files.
    """
    frame = sys._current_frames().get(thread.ident or 0)
    steps = traceback.extract_stack(frame) if frame else []
    ours = [step for step in steps if "django_distsession" in step.filename]
    return " > ".join(f"{step.filename.rpartition('/')[2]}:{step.name}" for step in ours[-3:])
