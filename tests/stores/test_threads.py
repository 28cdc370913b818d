"""
The async methods.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from asgiref.sync import async_to_sync

from tests.sessions import Engine


def test_async_calls_use_threads_of_their_own(session_class: Engine) -> None:
    names: set[str] = set()

    class Watching(session_class):  # type: ignore[misc,valid-type]
        def load(self) -> dict[str, Any]:
            names.add(threading.current_thread().name)
            loaded: dict[str, Any] = super().load()
            return loaded

    async def scenario() -> None:
        session = session_class()
        await session.aset("a", 1)
        await session.asave()
        key = session.session_key or ""
        sessions = [Watching(key) for _ in range(4)]
        assert [await one.aget("a") for one in sessions] == [1] * 4
        for number, one in enumerate(sessions):
            await one.aset(f"k{number}", number)
        await asyncio.gather(*(one.asave() for one in sessions))
        assert len(await session_class(key).aload()) == 5
        assert await session.aexists(key)
        await session.acycle_key()
        assert not await session.aexists(key)
        assert (await session.ainspect())["version"]
        await session.aflush()
        assert session.session_key is None
        await session_class.aclear_expired()

    async_to_sync(scenario)()
    assert names
    assert all(name.startswith("distsession") for name in names)
