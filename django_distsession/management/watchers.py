"""
How commands show what goes on: a progress bar on a terminal, lines elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..stores.couchdb.designs.migration import Watcher

Write = Callable[[str], Any]

# Lines go to logs: one for each tenth is enough.
TENTHS = 10


class LineWatcher(Watcher):
    """
    For logs.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._tenths = 0

    def step(self, text: str) -> None:
        """
        Write a line.
        """
        self._tenths = 0
        self._write(text)

    def progress(self, done: int, total: int) -> None:
        """
        Write a line, if much happened since the last one.
        """
        tenths = done * TENTHS // total
        if tenths > self._tenths:
            self._tenths = tenths
            self._write(f"  {done:,} of {total:,} documents")


class BarWatcher(Watcher):
    """
    For terminals. bar: makes a progress bar like tqdm's.
    """

    def __init__(self, write: Write, bar: Callable[..., Any]) -> None:
        self._write = write
        self._make_bar = bar
        self._bar: Any = None

    def step(self, text: str) -> None:
        """
        Write a line, below the bar of the last step.
        """
        self.close()
        self._write(text)

    def progress(self, done: int, total: int) -> None:
        """
        Move the bar.
        """
        if self._bar is None:
            self._bar = self._make_bar(total=total, unit=" documents")
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """
        Leave the bar as it is.
        """
        if self._bar is not None:
            self._bar.close()
        self._bar = None


@contextmanager
def watching(write: Write, *, terminal: bool) -> Iterator[Watcher]:
    """
    Give a watcher that suits the output. The bar comes with the extra "progress".
    """
    make_bar = _tqdm() if terminal else None
    if make_bar is None:
        yield LineWatcher(write)
        return
    watcher = BarWatcher(write, make_bar)
    try:
        yield watcher
    finally:
        watcher.close()


def _tqdm() -> Callable[..., Any] | None:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm
