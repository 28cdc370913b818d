"""
Reading a view a page at a time, from the last row of the page before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Row = dict[str, Any]

# Bytes of an id that is named in a URL, which may be only so long. Those of sessions have 64;
# anybody who may write can store a document whose id is longer than a URL may be.
LONGEST_NAMED = 500


def pages(
    ask: Callable[..., list[Row]], limit: Callable[[], int], **query: Any
) -> Iterator[list[Row]]:
    """
    Yield a view's rows, never a row twice. The documents may be removed meanwhile.

    ask: reads rows by the parameters of a query. limit: how many at the most; 0 if none any more.
    """
    # From the row on that the next page begins after.
    seen: set[str] = set()
    skip = 0
    while size := limit():
        rows = ask(limit=size, skip=skip, **query)
        if fresh := [row for row in rows if row["id"] not in seen]:
            skip = 0
            yield fresh
        else:
            # To a server that knows no startkey_docid, or where there are long ids only.
            skip += len(rows)
        if len(rows) < size:
            return
        last = next((n for n in reversed(range(size)) if _may_be_named(rows[n]["id"])), None)
        if last is None:
            seen.update(row["id"] for row in rows)
            continue
        key, doc_id = rows[last]["key"], rows[last]["id"]
        if key != query.get("startkey"):
            seen.clear()
        seen.update(row["id"] for n, row in enumerate(rows) if n > last or row["key"] == key)
        # The row itself is most likely gone by then; if not, it is skipped.
        query |= {"startkey": key, "startkey_docid": doc_id + "\u0000"}


def _may_be_named(doc_id: str) -> bool:
    return len(doc_id.encode("utf-8", "surrogatepass")) <= LONGEST_NAMED
