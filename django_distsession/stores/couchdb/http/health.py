"""
How one CouchDB server is doing, for all who talk to it, by whatever name and password.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ....clock import SYSTEM_CLOCK, Clock
from ....observing import ServerDown, ServerUp, Tell
from ... import forking
from ...circuit_breaker import CircuitBreaker

logger = logging.getLogger("django_distsession.couchdb")


class Health:
    """
    Tells the log when the server goes down and when it is back. A forked child finds out by itself.

    name: the server's address. tell: for reports; None if nobody wants them.
    probe, retry_after, time_out: see `CircuitBreaker`.
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[float], object],
        *,
        retry_after: float,
        time_out: float,
        tell: Tell | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._name = name
        self._tell = tell
        self._probe = probe
        self._retry_after = retry_after
        self._time_out = time_out
        self._clock = clock
        forking.register(self)

    def reset_after_fork(self) -> None:
        self.breaker = CircuitBreaker(
            self._probe,
            retry_after=self._retry_after,
            time_out=self._time_out,
            recovered=self._tell_recovery,
            clock=self._clock,
        )

    def succeeded(self) -> None:
        if self.breaker.succeeded():
            self._tell_recovery()

    def failed(self, error: BaseException) -> None:
        """
        Note that the server could not be reached, and have it watched.
        """
        if self.breaker.failed(error):
            logger.warning(
                "CouchDB at %s does not answer (%s: %s). It is watched until it does.",
                self._name,
                type(error).__name__,
                error,
            )
            if self._tell:
                self._tell(ServerDown("couchdb", self._name, type(error).__name__))

    def _tell_recovery(self) -> None:
        logger.warning("CouchDB at %s answers again.", self._name)
        if self._tell:
            self._tell(ServerUp("couchdb", self._name))
