from __future__ import annotations

from django_distsession.stores import backoff


def longest(low: float, high: float) -> float:
    assert low == 0.0
    return high


def test_pauses_double_until_they_are_long_enough() -> None:
    delays = [
        backoff.delay(attempt, first=0.001, longest=0.02, uniform=longest) for attempt in range(7)
    ]
    assert delays == [0.001, 0.002, 0.004, 0.008, 0.016, 0.02, 0.02]


def test_after_very_many_attempts_too() -> None:
    assert backoff.delay(10**9, uniform=longest) == backoff.LONGEST_PAUSE


def test_any_time_up_to_that_may_come_out() -> None:
    assert {backoff.delay(3) for _ in range(20)} != {backoff.delay(3)}
    assert all(0.0 <= backoff.delay(9) <= backoff.LONGEST_PAUSE for _ in range(100))
