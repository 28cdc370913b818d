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

    longest_probe: seconds after which a prober that never told how it went counts as lost.
    longest_backoff: where the doubling ends, in multiples of `retry_after`.
    """

    def __init__(
        self,
        retry_after: float,
        longest_probe: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        longest_backoff: int = LONGEST_BACKOFF,
    ) -> None:
        self._retry_after = retry_after
        self._longest_probe = longest_probe
        self._longest_backoff = longest_backoff
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        # Whether the last exchange went well.
        self.is_up = True
        self._is_probed = False
        self._retry_at = 0.0
        self._since = time.time()
        self._last_error: str | None = None

    def admits(self) -> bool:
        """
        Whether to ask the server now. While it is down, True makes the caller its only prober.
        """
        if self.is_up:
            return True
        with self._lock:
            now = self._clock()
            if self.is_up:
                return True
            if now < self._retry_at:
                return False
            self._is_probed = True
            self._retry_at = now + max(self._pause(), self._longest_probe)
            return True

    def probe_now(self) -> None:
        """
        Let the next caller ask a server that is down, without waiting for its time.
        """
        with self._lock:
            self._retry_at = 0.0

    @property
    def is_gone(self) -> bool:
        """
        Whether nobody listens there any more, so that whatever the server held is gone with it.
        """
        return not self.is_up and (self._last_error or "").startswith(
            ("ConnectionRefusedError:", "FileNotFoundError:")
        )

    def succeeded(self) -> bool:
        """
        Note an answer. True if the server was down until now.
        """
        if self.is_up:
            return False
        with self._lock:
            was_down = not self.is_up
            self.is_up, self._failures, self._is_probed = True, 0, False
            self._since = time.time()
            return was_down

    def failed(self, error: BaseException) -> bool:
        """
        Note a failure. True if the server was up until now.
        """
        with self._lock:
            was_up, self.is_up = self.is_up, False
            self.note(error)
            if was_up:
                self._since = time.time()
            elif not self._is_probed:
                # One outage, met by many requests at once, is no reason to wait the longer.
                return False
            self._failures += 1
            self._is_probed = False
            self._retry_at = self._clock() + self._pause()
            return was_up

    def note(self, error: BaseException) -> None:
        """
        Remember an error, whether or not it says that the server is down.
        """
        self._last_error = f"{type(error).__name__}: {error}"[:200]

    def _pause(self) -> float:
        doubled: int = 1 << min(max(self._failures - 1, 0), 10)
        factor = min(doubled, self._longest_backoff)
        return self._retry_after * factor * random.uniform(0.75, 1.25)  # noqa: S311

    def status(self) -> HealthStatus:
        """
        Tell how the server is doing.
        """
        return HealthStatus(self.is_up, self._since, self._last_error)
