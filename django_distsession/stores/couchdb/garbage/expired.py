"""
Reading what expired from an index that is brought up to date once, in an order that several hosts
do not share.

Bringing the index up to date after each purge takes CouchDB far longer than the purges do. It is
not needed: what is purged is named by revision, so a row that is out of date does no harm.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, TypeVar

from ..client import Client
from ..client.answers import is_whole
from ..client.paging import Row
from ..designs.design import BY_EXPIRY, EXPIRY

# A part of the work is so many batches at least, and there are no more parts than that.
BATCHES_PER_PART = 4
MOST_PARTS = 32

T = TypeVar("T")


class ExpiryIndex:
    """
    The index of sessions by expiry. It is brought up to date by the first query, and by the next
    one after `mark_outdated`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._is_outdated = True

    def mark_outdated(self) -> None:
        """
        Say that the index shows what is not there any more.
        """
        self._is_outdated = True

    def view(self, view: str, **query: Any) -> list[Row]:
        """
        Return rows of a view.
        """
        return self._client.view(EXPIRY, view, **self._how(), **query)

    def count(self, **query: Any) -> int:
        """
        Return the number of sessions in a range.
        """
        return self._client.count(EXPIRY, BY_EXPIRY, **self._how(), **query)

    def _how(self) -> dict[str, Any]:
        update, self._is_outdated = self._is_outdated, False
        # On a cluster each copy of a shard has its own index: always ask the same one.
        return {"update": "true" if update else "false", "stable": "true"}


def parts(
    index: ExpiryIndex,
    before: int,
    count: int,
    batch_size: int,
    shuffle: Callable[[list[dict[str, Any]]], object],
) -> list[dict[str, Any]]:
    """
    Return queries for parts of what expired before a time, which cover all of it once, in random
    order: so hosts that run at the same time mostly work on different parts.

    count: how many sessions there are. Parts span equal times.
    """
    whole = {"startkey": 0, "endkey": before, "inclusive_end": False, "reduce": False}
    number = min(count // (BATCHES_PER_PART * batch_size), MOST_PARTS)
    if number < 2:
        return [whole]
    backwards = {"startkey": before, "endkey": 0, "descending": True, "reduce": False}
    edges = [*index.view(BY_EXPIRY, limit=1, **whole), *index.view(BY_EXPIRY, limit=1, **backwards)]
    if not edges:
        # Others have removed them all meanwhile.
        return [whole]
    first, last = (row["key"] if is_whole(row["key"]) else 0 for row in (edges[0], edges[-1]))
    step = max(-(-(last - first) // number), 1)
    bounds = [0, *range(first + step, last, step), before]
    queries = [
        {**whole, "startkey": start, "endkey": end} for start, end in itertools.pairwise(bounds)
    ]
    shuffle(queries)
    return queries


def read_ahead(pages: Iterator[T], reader: Executor, may_read: Callable[[], bool]) -> Iterator[T]:
    """
    Yield what an iterator does, which works on a thread of `reader` at the next item meanwhile.

    may_read: whether it may. If not, it is asked when the next item is needed.
    """
    item = next(pages, None)
    while item is not None:
        upcoming = reader.submit(next, pages, None) if may_read() else None
        yield item
        item = upcoming.result() if upcoming else next(pages, None)
