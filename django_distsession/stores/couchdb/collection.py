"""
Garbage collection: removing sessions that expired, live ones and tombstones alike.

By the revision that the index showed, so a session that was saved meanwhile is left alone.
Purging leaves nothing behind; where the server cannot purge, or does not let us, documents are
deleted, which leaves CouchDB's own small stubs.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...exceptions import StoreMisconfigured, StoreUnavailable
from ..base import Cleared
from .client import Client, RequestRefused
from .designs import BY_EXPIRY, EXPIRY

# CouchDB before 3.5.1 takes no more in one _purge.
BATCH_SIZE = 100


def collect(client: Client, before: int) -> Cleared:
    """
    Remove the sessions that expired before `before`, in seconds since the epoch.
    """
    cleared = Cleared()
    may_purge = True
    for batch in _batches(client, before):
        cleared.seen += len(batch)
        if may_purge:
            try:
                purged = client.purge({doc_id: [rev] for doc_id, rev in batch.items()})
            except (RequestRefused, StoreMisconfigured):
                may_purge = False
            else:
                gone = sum(bool(revisions) for revisions in purged.values())
                cleared.purged += gone
                cleared.skipped += len(batch) - gone
                continue
        _delete(client, batch, cleared)
    return cleared


def _batches(client: Client, before: int) -> Iterator[dict[str, str]]:
    """
    Yield ids and revisions, a batch at a time, never a row twice.
    """
    after: dict[str, object] = {}
    while True:
        rows = client.view(
            EXPIRY, BY_EXPIRY, endkey=before, inclusive_end=False, limit=BATCH_SIZE, **after
        )
        if not rows:
            return
        yield {row["id"]: row["value"] for row in rows}
        last = rows[-1]
        # The row itself is most likely gone by then; if not, it is skipped.
        after = {"startkey": last["key"], "startkey_docid": last["id"] + "\u0000"}


def _delete(client: Client, batch: dict[str, str], cleared: Cleared) -> None:
    stubs = [{"_id": doc_id, "_rev": rev, "_deleted": True} for doc_id, rev in batch.items()]
    for answer in client.bulk_docs(stubs):
        if "error" not in answer:
            cleared.deleted += 1
        elif answer["error"] == "conflict":
            cleared.skipped += 1
        else:
            raise StoreUnavailable("CouchDB could not delete expired sessions.")
