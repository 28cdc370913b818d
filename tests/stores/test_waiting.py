from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from django_distsession.stores import waiting
from django_distsession.stores.deadline import Deadline
from django_distsession.stores.waiting import Milestone, Wait

SOON = 30.0


def blocking(wait: Wait) -> bool:
    return wait.perform()


def on_a_loop(wait: Wait) -> bool:
    return asyncio.run(wait.aperform())


WAYS = [blocking, on_a_loop]


@pytest.mark.parametrize("way", WAYS)
def test_what_another_thread_finishes_is_over(way: Callable[[Wait], bool]) -> None:
    milestone, asked = Milestone(), threading.Event()

    class Asked(Milestone):
        def notify(self, wake: Callable[[], object]) -> None:
            super().notify(wake)
            asked.set()

    milestone = Asked()

    def finish() -> None:
        assert asked.wait(SOON)
        milestone.finish()

    thread = threading.Thread(target=finish)
    thread.start()
    assert way(Wait(milestone, Deadline(SOON)))
    thread.join()


@pytest.mark.parametrize("way", WAYS)
def test_what_is_over_is_not_waited_for(way: Callable[[Wait], bool]) -> None:
    milestone = Milestone()
    milestone.finish()
    assert way(Wait(milestone, Deadline(-1.0)))


@pytest.mark.parametrize("way", WAYS)
def test_nobody_waits_past_the_deadline(way: Callable[[Wait], bool]) -> None:
    assert not way(Wait(Milestone(), Deadline(0.01)))


@pytest.mark.parametrize("way", WAYS)
def test_who_was_not_woken_looks_for_himself(
    way: Callable[[Wait], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOK_AGAIN", 0.001)

    class Silent(Milestone):
        def notify(self, wake: Callable[[], object]) -> None:
            # Whoever finished it was interrupted before this one's turn.
            self.is_over = True

    assert way(Wait(Silent(), Deadline(SOON)))


def test_who_asks_to_be_woken_after_it_is_over_is_woken_at_once() -> None:
    milestone = Milestone()
    milestone.finish()
    woken: list[bool] = []
    milestone.notify(lambda: woken.append(True))
    assert woken


def test_a_coroutine_whose_loop_has_ended_keeps_nobody_from_waking() -> None:
    milestone = Milestone()

    async def give_up() -> None:
        waiting_task = asyncio.create_task(Wait(milestone, Deadline(SOON)).aperform())
        await asyncio.sleep(0)
        waiting_task.cancel()

    asyncio.run(give_up())
    woken: list[bool] = []
    milestone.notify(lambda: woken.append(True))
    milestone.finish()
    assert woken


def test_many_coroutines_and_threads_wait_for_one() -> None:
    milestone = Milestone()
    results: list[Any] = []

    async def several() -> None:
        results.extend(
            await asyncio.gather(*(Wait(milestone, Deadline(SOON)).aperform() for _ in range(9)))
        )

    threads = [threading.Thread(target=asyncio.run, args=(several(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    milestone.finish()
    for thread in threads:
        thread.join()
    assert results == [True] * 27
