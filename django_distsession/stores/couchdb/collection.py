"""
Garbage collection: removing sessions that expired, live ones and tombstones alike, and bringing
together what diverged.

By the revisions that the index showed, so a session that was saved meanwhile is left alone, and
several hosts may do it at once. Purging takes all leaves of a document, and nothing of it stays;
where the server cannot purge, or does not let us, documents are deleted, which leaves CouchDB's
own small stubs. Killed between any two requests, the next run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from math import inf
from typing import Any, NamedTuple

from ...exceptions import StoreMisconfigured, StoreUnavailable
from ..base import Cleared, Found, Record, Sweep
from . import documents, tokens
from .client import Client, DocumentMissing, RequestRefused, RevisionConflict
from .designs import BY_EXPIRY, CONFLICTED, EXPIRY

# CouchDB before 3.5.1 takes no more in one _purge.
SMALL_PURGE = 100


class Leaves(NamedTuple):
    """
    The ends of a document's branches, the winning one first. gone: those that are deleted.
    """

    live: list[str]
    gone: list[str]

    @property
    def all(self) -> list[str]:
        """
        All of them.
        """
        return [*self.live, *self.gone]


class OutOfTime(Exception):
    """
    `max_seconds` are over.
    """


class Collection:
    """
    One run. before: what expired earlier, in seconds since the epoch, is removed.

    found: merges a document that was read with its conflicts.
    """

    def __init__(
        self,
        client: Client,
        before: int,
        sweep: Sweep,
        *,
        found: Callable[[str, dict[str, Any]], Found | None],
        as_json: bool,
    ) -> None:
        self._client = client
        self._before = before
        self._sweep = sweep
        self._found = found
        self._as_json = as_json
        self._may_purge = True
        self._purge_size = sweep.batch_size
        self._deadline = sweep.max_seconds and time.monotonic() + sweep.max_seconds
        self.cleared = Cleared()

    def run(self) -> Cleared:
        """
        Do it.
        """
        if self._sweep.dry_run or self._sweep.progress:
            self.cleared.total = self._count()
        if self._sweep.dry_run:
            self.cleared.seen = self.cleared.total
            return self.cleared
        try:
            self._merge_conflicted()
            for batch in self._expired():
                self.cleared.seen += len(batch)
                self._remove(batch)
                if self._sweep.progress:
                    self._sweep.progress(self.cleared)
                self._check_time()
        except OutOfTime:
            pass
        return self.cleared

    def _count(self) -> int:
        rows = self._client.view(EXPIRY, BY_EXPIRY, endkey=self._before, inclusive_end=False)
        total = int(rows[0]["value"]) if rows else 0
        return total if self._sweep.limit is None else min(total, self._sweep.limit)

    def _check_time(self) -> None:
        if self._deadline and time.monotonic() > self._deadline:
            raise OutOfTime

    def _pages(self, view: str, **query: Any) -> Iterator[list[dict[str, Any]]]:
        """
        Yield a view's rows, a batch at a time, never a row twice.
        """
        left = self._sweep.limit
        after: dict[str, Any] = {}
        while left is None or left > 0:
            size = self._sweep.batch_size if left is None else min(left, self._sweep.batch_size)
            rows = self._client.view(EXPIRY, view, limit=size, **query, **after)
            if not rows:
                return
            yield rows
            left = None if left is None else left - len(rows)
            last = rows[-1]
            # The row itself is most likely gone by then; if not, it is skipped.
            after = {"startkey": last["key"], "startkey_docid": last["id"] + "\u0000"}

    def _expired(self) -> Iterator[dict[str, Leaves]]:
        query = {"endkey": self._before, "inclusive_end": False, "reduce": False}
        for rows in self._pages(BY_EXPIRY, **query):
            yield {row["id"]: Leaves(*row["value"]) for row in rows}

    def _merge_conflicted(self) -> None:
        for rows in self._pages(CONFLICTED):
            for row in rows:
                self._merge(row["id"], row["value"])
                self._check_time()

    def _merge(self, storage_id: str, gone: list[str]) -> None:
        try:
            document = self._client.get(storage_id, conflicts=True)
        except DocumentMissing:
            return
        losing = document.get("_conflicts", [])
        if not losing:
            return
        found = self._found(storage_id, document)
        if (found.record.expires_at if found else self._latest(document)) < self._before:
            self.cleared.seen += 1
            self._remove({storage_id: Leaves([document["_rev"], *losing], gone)})
        elif found:
            rev, losers = tokens.split(found.token)
            if losers and self._write(storage_id, found.record, rev):
                self._remove_branches(storage_id, losers)
                self.cleared.merged += 1

    def _latest(self, document: dict[str, Any]) -> float:
        """
        Return when the last of some branches expires that cannot be decoded.
        """
        leaves = [document, *self._client.leaves(document["_id"], document["_conflicts"])]
        times = [leaf.get("expires_at") for leaf in leaves]
        return max(at if isinstance(at, int) else inf for at in times)

    def _write(self, storage_id: str, record: Record, rev: str | None) -> bool:
        merged = documents.to_document(storage_id, record, rev, as_json=self._as_json)
        try:
            return self._client.put(merged).certain
        except RevisionConflict:
            # Whoever saved it has seen the branches, or the next run will.
            return False

    def _remove_branches(self, storage_id: str, losers: list[str]) -> None:
        if not self._purged({storage_id: Leaves(losers, [])}):
            self._client.bulk_docs([_stub(storage_id, rev) for rev in losers])

    def _remove(self, batch: dict[str, Leaves]) -> None:
        purged = self._purged(batch)
        self.cleared.purged += len(purged)
        if self._may_purge:
            self.cleared.skipped += len(batch) - len(purged)
        else:
            self._delete({key: leaves for key, leaves in batch.items() if key not in purged})

    def _purged(self, batch: dict[str, Leaves]) -> set[str]:
        """
        Purge, and return the ids of those that are gone. Notes if the server does not let us.
        """
        gone: set[str] = set()
        todo = list(batch)
        while todo and self._may_purge:
            chunk = todo[: self._purge_size]
            try:
                answer = self._client.purge({key: batch[key].all for key in chunk})
            except RequestRefused as error:
                if len(chunk) > SMALL_PURGE:
                    self._purge_size = SMALL_PURGE
                else:
                    self._give_up_purging(f"the server cannot purge ({error})")
            except StoreMisconfigured:
                self._give_up_purging("purging is a server admin's right; set ADMIN_URL")
            else:
                gone |= {key for key in chunk if batch[key].live[0] in answer.get(key, ())}
                del todo[: len(chunk)]
        return gone

    def _give_up_purging(self, why: str) -> None:
        self._may_purge = False
        self.cleared.no_purge = why

    def _delete(self, batch: dict[str, Leaves]) -> None:
        # The losing ones first: the winner may be the tombstone that keeps them from coming back.
        losers = [(key, rev) for key, leaves in batch.items() for rev in leaves.live[1:]]
        if losers:
            self._client.bulk_docs([_stub(key, rev) for key, rev in losers])
        for answer in self._client.bulk_docs(
            [_stub(key, leaves.live[0]) for key, leaves in batch.items()]
        ):
            if "error" not in answer:
                self.cleared.deleted += 1
            elif answer["error"] == "conflict":
                self.cleared.skipped += 1
            else:
                raise StoreUnavailable("CouchDB could not delete expired sessions.")


def _stub(storage_id: str, rev: str) -> dict[str, Any]:
    return {"_id": storage_id, "_rev": rev, "_deleted": True}
