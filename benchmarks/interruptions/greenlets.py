"""
Users in greenlets, which can be interrupted wherever they wait.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import gevent

from benchmarks.interruptions.users import INTERRUPTIONS, Notes, User

LONGEST_PAUSE = 0.003


class Driver:
    """
    users: more than there are connections, so that most of them wait for one.
    hang_after: the seconds after which a request never ends.
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
        self._choose = random.Random(exceptions)
        self.stopped = False
        self.hung: list[str] = []

    def is_over(self) -> bool:
        return self.stopped

    def run(self) -> None:
        """
        Return when enough was thrown, or a request hangs.
        """
        running = [gevent.spawn(user.work) for user in self._users]
        while not self.stopped:
            gevent.sleep(self._choose.uniform(0, LONGEST_PAUSE))
            number = self._choose.randrange(len(self._users))
            if running[number].dead:
                # It was hit where nothing could catch it.
                running[number] = gevent.spawn(self._users[number].work)
            elif self._users[number].began is not None:
                # Twice is what a time-out does that runs out while another one is dealt with.
                for _ in range(self._choose.choice((1, 1, 2))):
                    running[number].kill(self._choose.choice(INTERRUPTIONS), block=False)
                    self._notes.thrown += 1
            before = time.monotonic() - self._hang_after
            self.hung = [
                f"user {user.number}" for user in self._users if (user.began or before) < before
            ]
            is_enough = self._notes.met >= self._exceptions or time.monotonic() > self._over_at
            self.stopped = is_enough or bool(self.hung)
        left = gevent.joinall(running, timeout=self._hang_after)
        self.hung = self.hung or ["a greenlet"] * (len(running) - len(left))
