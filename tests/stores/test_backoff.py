from __future__ import annotations

from django_distsession.stores.backoff import FIRST_PAUSE, LONGEST_PAUSE, delay


def longest(low: float, high: float) -> float:
    assert low == 0.0
    return high


def test_pauses_grow_up_to_a_limit() -> None:
    assert [delay(attempt, uniform=longest) / FIRST_PAUSE for attempt in range(4)] == [1, 2, 4, 8]
    assert delay(100, uniform=longest) == LONGEST_PAUSE
    assert delay(100, longest=0.01, uniform=longest) == 0.01


def test_pauses_are_random() -> None:
    assert delay(5, uniform=lambda low, high: low) == 0.0
    assert len({delay(5) for _ in range(10)}) > 1
