"""
The same test for blocking code and for event loops.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

DRIVERS = ("blocking", "asyncio", "uvloop")


class Driver:
    """
    Calls methods of sessions, or their async twins on an event loop.

    name: one of `DRIVERS`. Each thread has a loop of its own, which only runs during a call.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._local = threading.local()

    def __call__(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.name == "blocking":
            return method(*args, **kwargs)
        twin = getattr(getattr(method, "__self__"), f"a{method.__name__}")  # noqa: B009
        return self._local.runner.run(twin(*args, **kwargs))

    @contextmanager
    def in_this_thread(self) -> Iterator[None]:
        """
        Have an event loop until the end.
        """
        with runner(self.name if self.name != "blocking" else "asyncio") as self._local.runner:
            yield


def runner(name: str) -> asyncio.Runner:
    if name == "asyncio":
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=pytest.importorskip("uvloop").new_event_loop)


def run_on(name: str, main: Coroutine[Any, Any, T]) -> T:
    """
    As `asyncio.run`, on a loop of this sort.
    """
    with runner(name) as running:
        return running.run(main)
