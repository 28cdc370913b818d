"""
The thread that tells the cache what it missed.
"""

from __future__ import annotations

import math
import threading

from django_distsession.stores.hybrid.freshness import MissedWrites
from django_distsession.stores.hybrid.handoff import Handoff
from tests.stores.hybrid.conftest import REVALIDATE_AFTER, wait_for_handoff
from tests.stores.hybrid.fakes import FakeCache


def test_while_one_handoff_is_under_way_another_waits_for_its_turn() -> None:
    missed = MissedWrites(REVALIDATE_AFTER)
    missed.add("a")
    told: list[str] = []

    def bring(storage_id: str) -> None:
        told.append(storage_id)
        if len(told) == 1:
            missed.add("b")
            for _ in range(3):
                handoff.begin()

    handoff = Handoff(FakeCache(), missed, bring)
    handoff.begin()
    wait_for_handoff()
    assert told == ["a", "a", "b"]
    assert [thread.name for thread in threading.enumerate()].count("distsession-handoff") == 0


def test_a_session_whose_servers_are_still_away_is_left_for_later() -> None:
    missed, cache = MissedWrites(REVALIDATE_AFTER), FakeCache()
    missed.add("a")
    cache.since = math.inf
    told: list[str] = []
    Handoff(cache, missed, told.append).begin()
    wait_for_handoff()
    assert told == []
