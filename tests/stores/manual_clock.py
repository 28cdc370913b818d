"""
A clock that a test sets.
"""

from __future__ import annotations

from django_distsession.clock import Clock


class ManualClock:
    """
    now: what it shows, in seconds. clock: to be handed to what is tested.
    """

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now
        self.clock = Clock(lambda: self.now, lambda: self.now)
