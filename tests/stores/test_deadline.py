from __future__ import annotations

import pytest

from django_distsession.stores.deadline import Deadline


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_deadline_comes_nearer(clock: Clock) -> None:
    deadline = Deadline(2.0, clock)
    clock.now += 1.5
    assert deadline.left == deadline.require() == 0.5
    clock.now += 0.5
    assert deadline.left == 0.0
    with pytest.raises(TimeoutError):
        deadline.require()
    clock.now += 1
    assert deadline.left == -1.0


def test_a_part_takes_no_longer_than_the_whole(clock: Clock) -> None:
    whole = Deadline(2.0, clock)
    assert whole.within(5.0) is whole
    part = whole.within(0.5)
    assert part.left == 0.5
    clock.now += 0.5
    assert part.left == 0.0
    assert whole.left == 1.5


def test_parts_that_follow_each_other_share_the_time(clock: Clock) -> None:
    whole = Deadline(3.0, clock)
    assert whole.share(3).left == 1.0
    clock.now += 1.0
    assert whole.share(2).left == 1.0
    assert whole.share(1) is whole
    clock.now += 5.0
    assert whole.share(2).left == 0.0
