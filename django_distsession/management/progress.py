"""
A progress bar for commands, where tqdm is installed and somebody is watching.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], total: int, title: str, *, hidden: bool = False) -> Iterator[T]:
    """
    Yield the items, showing how far it got. Needs the extra `progress`; does without.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return iter(items)
    # None: only on a terminal.
    return iter(tqdm(items, title, total, disable=True if hidden else None, leave=False))
