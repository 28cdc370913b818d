"""
The same for the connection of an event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import KEY, assert_keeps_it
from .error_reports import PASSWORD
from .stuck_server import stuck
from .test_memcached import REDIS


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"CLIENT_ERROR authentication failure\r\n",
        REDIS.encode(),
        f"ERROR {PASSWORD}\r\n".encode(),
        PASSWORD.encode(),
        None,
    ],
    ids=["hangs up", "wrong password", "Redis", "echo", "half a line", "hangs"],
)
def test_memcached_that_is_no_help(
    memcached_at: Callable[..., Any], caplog: pytest.LogCaptureFixture, answer: bytes | None
) -> None:
    async def errors(sessions: Any) -> list[BaseException]:
        session = sessions()
        await session.aset("a", 1)
        channel = sessions.get_store().nodes[0].channel.get(asyncio.get_running_loop())
        uses = [sessions(KEY).aload(), session.asave(), channel.acquire(1.0)]
        found = await asyncio.gather(*uses, return_exceptions=True)
        return [error for error in found if isinstance(error, BaseException)]

    with stuck(answer) as server:
        found = asyncio.run(errors(memcached_at(server)))
        assert len(found) == 3
        assert_keeps_it(found)
    assert PASSWORD not in caplog.text
