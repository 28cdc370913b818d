"""
Whether a server is worth asking: a circuit breaker, one per process and server.

A failure marks the server down at once. When its time is up, one caller probes it while all the
others still pass it by, so a hung server costs a process one time-out and not one per request.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# How long a server stays unasked at the most, in multiples of RETRY_AFTER.
LONGEST_BACKOFF = 30


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """
    up: whether it answered last time. since: when that began, in seconds since the epoch.
    """

    up: bool
    since: float
    last_error: str | None


class Health:
    """
    The breaker. retry_after: seconds until the first probe; the pause doubles with each failure.
    """

    def __init__(
        self, retry_after: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._retry_after = retry_after
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._retry_at = 0.0
        self._since = time.time()
        self._last_error: str | None = None

    @property
    def is_up(self) -> bool:
        """
        Whether the last exchange went well.
        """
        return not self._failures

    def admits(self) -> bool:
        """
        Whether to ask the server now. While it is down, True makes the caller its only prober.
        """
        if not self._failures:
            return True
        with self._lock:
            now = self._clock()
            if now < self._retry_at:
                return False
            self._retry_at = now + self._pause()
            return True

    def succeeded(self) -> bool:
        """
        Note an answer. True if the server was down until now.
        """
        if not self._failures:
            return False
        with self._lock:
            was_down, self._failures = bool(self._failures), 0
            self._since = time.time()
            return was_down

    def failed(self, error: BaseException) -> bool:
        """
        Note a failure. True if the server was up until now.
        """
        with self._lock:
            was_up = not self._failures
            self._failures += 1
            self._retry_at = self._clock() + self._pause()
            # The class alone where the text could hold anything a server sent.
            self._last_error = f"{type(error).__name__}: {error}"[:200]
            if was_up:
                self._since = time.time()
            return was_up

    def _pause(self) -> float:
        doubled = 2 ** min(max(self._failures - 1, 0), 10)
        factor = min(doubled, LONGEST_BACKOFF)
        return self._retry_after * factor * random.uniform(0.75, 1.25)  # noqa: S311

    def status(self) -> HealthStatus:
        """
        Tell how the server is doing.
        """
        return HealthStatus(self.is_up, self._since, self._last_error)
