"""
Whether a server is worth asking: a circuit breaker (Nygard, "Release It!", 2007), one per process
and server.

The first failure opens it, and starts a watcher in the background, which tries the server until it
answers. So requests do without the server and wait for no probe, but for those that need its
answer (`await_answer_gen`), and that a server is back is noticed by processes that have nothing to
do, too.

A probe stays on its way for as long as the pause to the next one takes. So a server that hung
answers the one that is waiting for it at the moment it goes on, and every process knows.
"""

from __future__ import annotations

import atexit
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakSet, ref

from ..clock import SYSTEM_CLOCK, Clock
from .deadline import Deadline
from .operations import Operation, run
from .sleeper import Sleeper
from .waiting import Milestone, Wait

logger = logging.getLogger("django_distsession.stores")

# A watcher that has not been heard of for as many of its rounds got lost.
LOST_AFTER = 5

# How many probes may be on their way, where somebody needs the answer.
MOST_PROBES = 4

# What a server that goes on may take to answer its probe, in seconds.
MOMENT = 0.1

# What an exception says where nobody listens at a server's address.
REFUSALS = (ConnectionRefusedError, FileNotFoundError)


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """
    up: whether it answered last time. since: when that began, in seconds since the epoch.
    """

    up: bool
    since: float
    last_error: str | None


class _Watch:
    """
    One run of a watcher. heard_of: when it last began a round.
    """

    def __init__(self, now: float) -> None:
        self.heard_of = now
        self.is_over = False
        self.pause = Sleeper()


class CircuitBreaker:
    """
    probe: asks the server whatever tells that it works, given how many seconds it may take; raises
        if there is no answer.
    retry_after: seconds from one probe to the next.
    time_out: how many seconds a server is given to answer a request; a probe is given no less.
    recovered: called by the watcher once the server answers again.
    jitter: multiplies a pause.
    """

    def __init__(
        self,
        probe: Callable[[float], object],
        *,
        retry_after: float,
        time_out: float,
        recovered: Callable[[], object] = lambda: None,
        clock: Clock = SYSTEM_CLOCK,
        jitter: Callable[[], float] = lambda: random.uniform(0.75, 1.25),  # noqa: S311
    ) -> None:
        self._probe = probe
        self._retry_after = retry_after
        self._time_out = time_out
        self._recovered = recovered
        self._clock = clock
        self._jitter = jitter
        # Whether the last exchange went well.
        self.is_up = True
        # Whether it was silent when it was last asked. If not, it costs no time to ask again.
        self.is_hung = False
        # Whether nobody listens there. Then whatever a server without a disk held is gone with it.
        self.is_refusing = False
        # Since when it has answered, in seconds since the epoch; 0.0 if it was never down.
        self.up_since = 0.0
        self._since = clock.now()
        self._last_error: str | None = None
        self._watch: _Watch | None = None
        self._probed_at = 0.0
        # Whether a probe of this outage has come to an end, and how many of all.
        self._is_probed = False
        self._outcomes = 0
        self._next_outcome = Milestone()

    def allows(self) -> bool:
        """
        Whether to ask the server: it answered last time. If not, see to it that it is watched.
        """
        if not self.is_up:
            self._ensure_watched()
        return self.is_up

    def succeeded(self) -> bool:
        """
        Note an answer. True if the server was down until now.
        """
        if self.is_up:
            return False
        self.up_since = self._since = self._clock.now()
        self.is_hung = self.is_refusing = False
        self.is_up = True
        self._tell_outcome()
        return True

    def failed(self, error: BaseException) -> bool:
        """
        Note that the server could not be reached. True if it was up until now.
        """
        was_up, self.is_up = self.is_up, False
        self._learn_from(error)
        if was_up:
            self._since = self._clock.now()
            self._is_probed = False
        self._ensure_watched()
        return was_up

    def note(self, error: BaseException) -> None:
        """
        Remember an error, whether or not it says that the server is down.
        """
        self._last_error = f"{type(error).__name__}: {error}"[:200]

    def _learn_from(self, error: BaseException) -> None:
        self.note(error)
        self.is_hung = isinstance(error, TimeoutError)
        self.is_refusing = isinstance(error, REFUSALS)

    def await_answer_gen(self, deadline: Deadline) -> Operation[bool]:
        """
        Return whether the server is up by the time its probe has had a request's time-out.

        A server that hangs is being asked all the time. So whoever needs its answer waits no longer
        than if he had asked when it went down. After that, it answers its probe as soon as it goes
        on, and he waits a moment for that only; or for a new probe, since an older one may have got
        lost on a way that has been repaired.
        """
        if self._is_probed:
            deadline = deadline.within(MOMENT)
            if self._clock.monotonic() - self._probed_at > max(
                MOMENT, self._retry_after / MOST_PROBES
            ):
                # The watcher finds itself replaced when its probe is over.
                self._watch = None
        monotonic, outcomes = self._clock.monotonic, self._outcomes
        while True:
            # Before anything is looked at: what comes later finishes it.
            outcome = self._next_outcome
            if self.is_up or outcomes != self._outcomes:
                break
            self._ensure_watched()
            left = min(self._probed_at + self._time_out - monotonic(), deadline.left)
            if left <= 0:
                break
            yield Wait(outcome, Deadline(left))
        return self.is_up

    def await_answer(self, deadline: Deadline) -> bool:
        """
        As `await_answer_gen`, blocking.
        """
        return run(self.await_answer_gen(deadline))

    def status(self) -> HealthStatus:
        """
        Tell how the server is doing.
        """
        return HealthStatus(self.is_up, self._since, self._last_error)

    def close(self) -> None:
        """
        End the watcher, if there is one. Whoever needs the server afterwards finds out anew whether
        it is up.
        """
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.pause.wake()
            self.is_up = True

    def _is_watched(self) -> bool:
        watch = self._watch
        if watch is None or watch.is_over:
            return False
        longest_round = 1.25 * self._retry_after + self._time_out
        return self._clock.monotonic() - watch.heard_of < LOST_AFTER * longest_round

    def _ensure_watched(self) -> None:
        if self._is_watched():
            return
        watch = _Watch(self._clock.monotonic())
        # Where two threads get here, the watcher of the first one finds itself replaced.
        self._watch = watch
        self._probed_at = self._clock.monotonic()
        _watched.add(self)
        try:
            threading.Thread(
                target=_run, args=(ref(self), watch), name="distsession-watcher", daemon=True
            ).start()
        except RuntimeError:
            # There are no more threads to be had. The next failure tries again.
            self._watch = None

    def _round(self, watch: _Watch) -> float | None:
        """
        Probe once. Return the seconds until the next time, None if there is none.
        """
        if self._watch is not watch:
            return None
        if not self.is_up:
            pause = self._retry_after * self._jitter()
            watch.heard_of = self._probed_at = begun = self._clock.monotonic()
            try:
                self._probe(max(pause, self._time_out))
            except Exception as error:
                if self._watch is not watch:
                    return None
                self._learn_from(error)
                self._outcomes += 1
                self._is_probed = True
                self._tell_outcome()
                return max(pause - (self._clock.monotonic() - begun), 0.0)
            if self.succeeded():
                self._tell_recovered()
        watch.is_over = True
        # Unless a request failed before it could see that this watch is over.
        watch.is_over = self.is_up
        return None if self.is_up else 0.0

    def _tell_recovered(self) -> None:
        try:
            self._recovered()
        except Exception:
            logger.exception("What is to be done when a server is back failed.")

    def _tell_outcome(self) -> None:
        outcome, self._next_outcome = self._next_outcome, Milestone()
        outcome.finish()


# For the end of the process.
_watched: WeakSet[CircuitBreaker] = WeakSet()


def _run(breaker_ref: ref[CircuitBreaker], watch: _Watch) -> None:
    # Between two probes nothing here keeps alive a store that nobody uses any more.
    while True:
        breaker = breaker_ref()
        pause = None if breaker is None else breaker._round(watch)
        if pause is None:
            return
        del breaker
        watch.pause.sleep(pause)


def _close_all() -> None:
    for breaker in list(_watched):
        breaker.close()


atexit.register(_close_all)
