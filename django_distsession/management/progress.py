"""
A progress bar for commands, if tqdm is installed and stderr is a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def bar_maker() -> Callable[..., Any] | None:
    """
    Return what makes a progress bar as tqdm does. It comes with the extra `progress`; None without.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm


def progress(items: Iterable[T], total: int, title: str, *, hidden: bool = False) -> Iterator[T]:
    """
    Iterate over the items, with a progress bar if the extra `progress` is installed.
    """
    make_bar = bar_maker()
    if make_bar is None:
        return iter(items)
    # None: only on a terminal.
    return iter(make_bar(items, title, total, disable=True if hidden else None, leave=False))
