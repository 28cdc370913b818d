"""
The progress of commands: a bar on a terminal, lines elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..stores.couchdb.designs.migration import Watcher
from .progress import bar_maker

Write = Callable[[str], Any]

TENTHS = 10


class LineWatcher(Watcher):
    """
    A line for each step and for each tenth of its progress.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._tenths = 0

    def step(self, text: str) -> None:
        self._tenths = 0
        self._write(text)

    def progress(self, done: int, total: int) -> None:
        tenths = done * TENTHS // total
        if tenths > self._tenths:
            self._tenths = tenths
            self._write(f"  {done:,} of {total:,} documents")


class BarWatcher(Watcher):
    """
    A bar for each step. bar: `tqdm`, or what makes bars like it.
    """

    def __init__(self, write: Write, bar: Callable[..., Any]) -> None:
        self._write = write
        self._make_bar = bar
        self._bar: Any = None

    def step(self, text: str) -> None:
        self.close()
        self._write(text)

    def progress(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = self._make_bar(total=total, unit=" documents")
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """
        Finish the current bar.
        """
        if self._bar is not None:
            self._bar.close()
        self._bar = None


@contextmanager
def watching(write: Write, *, terminal: bool) -> Iterator[Watcher]:
    """
    Yield a watcher for the output: with bars on a terminal, if the extra `progress` is installed.
    """
    make_bar = bar_maker() if terminal else None
    if make_bar is None:
        yield LineWatcher(write)
        return
    watcher = BarWatcher(write, make_bar)
    try:
        yield watcher
    finally:
        watcher.close()
