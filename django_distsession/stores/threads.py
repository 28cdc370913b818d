"""
Running blocking calls from async code: on threads of our own.

`sync_to_async` by default uses one thread for the whole process, on which a slow store would hold
up every other request. And it does more per call than a call to memcached takes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Twice as many as there are connections to a server by default, so that none of these idles while
# its last user decodes what it read.
MAX_THREADS = 64

_executor = ThreadPoolExecutor(MAX_THREADS, "distsession")


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Run a blocking call, with the caller's context variables.

    Cancelling the caller does not cut the call short: it ends its exchange with the store, so
    that no connection is left with an unread reply. One that has not begun yet never does.
    """
    bound = partial(copy_context().run, call, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_executor, bound)


def _after_fork_in_child() -> None:
    # Threads do not survive a fork.
    global _executor
    _executor = ThreadPoolExecutor(MAX_THREADS, "distsession")


os.register_at_fork(after_in_child=_after_fork_in_child)
