from __future__ import annotations

import asyncio
import gc
import threading

from django_distsession.stores.loops import PerLoop


class Thing:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed_in: asyncio.AbstractEventLoop | None = None

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        # What closing takes may need several turns of the loop.
        await asyncio.sleep(0)
        self.closed_in = asyncio.get_running_loop()


async def twice(things: PerLoop[Thing]) -> tuple[Thing, Thing]:
    first = things.get(asyncio.get_running_loop())
    await asyncio.sleep(0)
    return first, things.get(asyncio.get_running_loop())


def test_each_loop_has_its_own_and_closes_it() -> None:
    things = PerLoop(Thing)
    seen = []
    for _ in range(3):
        first, again = asyncio.run(twice(things))
        assert first is again
        assert first.closed_in is first.loop
        seen.append(first)
    assert len(set(map(id, seen))) == 3
    assert not things._made


def test_loops_of_several_threads_at_once() -> None:
    things = PerLoop(Thing)
    both = threading.Barrier(2)
    seen: list[Thing] = []

    async def work() -> None:
        thing = things.get(asyncio.get_running_loop())
        await asyncio.to_thread(both.wait)
        assert things.get(asyncio.get_running_loop()) is thing
        seen.append(thing)

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({thing.loop for thing in seen}) == 2
    assert all(thing.closed_in is thing.loop for thing in seen)


def test_what_belonged_to_a_loop_that_was_only_closed_is_forgotten() -> None:
    things = PerLoop(Thing)
    loop = asyncio.new_event_loop()
    first, _ = loop.run_until_complete(twice(things))
    loop.close()
    second, _ = asyncio.run(twice(things))
    assert second is not first
    assert not things._made
    gc.collect()
