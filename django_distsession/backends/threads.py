"""
Running store calls from async code: on threads of our own.

`sync_to_async` by default uses one thread for the whole process, on which a slow store would hold
up every other request.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async

P = ParamSpec("P")
T = TypeVar("T")

# As many as there are connections to a server by default.
MAX_THREADS = 32

_executor = ThreadPoolExecutor(MAX_THREADS, "distsession")


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Run a blocking call, with the caller's context variables.
    """
    return await sync_to_async(call, thread_sensitive=False, executor=_executor)(*args, **kwargs)


def _after_fork_in_child() -> None:
    # Threads do not survive a fork.
    global _executor
    _executor = ThreadPoolExecutor(MAX_THREADS, "distsession")


os.register_at_fork(after_in_child=_after_fork_in_child)
