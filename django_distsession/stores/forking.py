"""
What starts anew in a forked child: locks that a thread held which is not there, and sockets, since
two processes that read from one mix up their replies.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class StartsAnew(Protocol):
    """
    Something that a child process must not go on using as it is.
    """

    def start_anew(self) -> None:
        """
        Be as if just made.
        """


_all: WeakSet[StartsAnew] = WeakSet()


def begin(one: StartsAnew) -> None:
    """
    Start it, now and in every child.
    """
    one.start_anew()
    _all.add(one)


def _after_fork_in_child() -> None:
    for one in list(_all):
        one.start_anew()


os.register_at_fork(after_in_child=_after_fork_in_child)
