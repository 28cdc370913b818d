"""
Telling a cache that is back what it missed, before other processes read its outdated copies.

"Hinted handoff", as in Dynamo (DeCandia et al., 2007): who could not deliver a write remembers it,
and delivers it when the server is back.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable

from ...clock import SYSTEM_CLOCK, Clock
from ...exceptions import StoreError
from .. import forking
from ..cache import CacheStore
from ..deadline import Deadline
from .freshness import MissedWrites

logger = logging.getLogger("django_distsession.hybrid")

# How long it goes on, in seconds. What is left by then waits for its next reader, or for the next
# server that is back.
LONGEST = 30.0


class Handoff:
    """
    In a thread of its own, and one at a time: who notices that a server is back may be a request.

    bring: brings both stores' records of a session to one state.
    """

    def __init__(
        self,
        cache: CacheStore,
        missed: MissedWrites,
        bring: Callable[[str], object],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._cache = cache
        self._missed = missed
        self._bring = bring
        self._clock = clock
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Forget the thread: in a forked child there is none.
        """
        # Whoever takes what is in there runs it.
        self._turn = deque([None])
        self._is_wanted = False

    def begin(self) -> None:
        """
        Do it in the background, once more if that is being done.
        """
        if not self._missed.ids():
            return
        self._is_wanted = True
        try:
            self._turn.pop()
        except IndexError:
            return
        try:
            threading.Thread(target=self._run, name="distsession-handoff", daemon=True).start()
        except RuntimeError:
            # There are no more threads to be had.
            self._turn.append(None)

    def stop(self) -> None:
        """
        Let it end with the session that is being told.
        """
        self._is_wanted = False

    def _run(self) -> None:
        try:
            while self._is_wanted:
                self._is_wanted = False
                self._tell_all()
        finally:
            self._turn.append(None)
        if self._is_wanted:
            self.begin()

    def _tell_all(self) -> None:
        deadline = Deadline(LONGEST, self._clock.monotonic)
        for storage_id in self._missed.ids():
            if deadline.left <= 0:
                return
            if self._cache.reachable_since(storage_id) == math.inf:
                # Its servers are still away.
                continue
            try:
                self._bring(storage_id)
            except StoreError as error:
                logger.debug("A session is not brought up to date: %s", error)
