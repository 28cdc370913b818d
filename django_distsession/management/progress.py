"""
A progress bar for commands, if tqdm is installed and stderr is a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], total: int, title: str, *, hidden: bool = False) -> Iterator[T]:
    """
    Iterate over the items, with a progress bar if the extra `progress` is installed.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return iter(items)
    # None: only on a terminal.
    return iter(tqdm(items, title, total, disable=True if hidden else None, leave=False))
