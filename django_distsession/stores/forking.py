"""
What starts anew in a forked child: locks that a thread held which is not there, and sockets, since
two processes that read from one mix up their replies.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class ForkSafe(Protocol):
    """
    Something that a child process must not go on using as it is.
    """

    def reset_after_fork(self) -> None:
        """
        Be as if just made.
        """


_all: WeakSet[ForkSafe] = WeakSet()


def register(one: ForkSafe) -> None:
    """
    Start it, now and in every child.
    """
    one.reset_after_fork()
    _all.add(one)


def _after_fork_in_child() -> None:
    for one in list(_all):
        one.reset_after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
