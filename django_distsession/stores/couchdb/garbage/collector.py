"""
Garbage collection: removing sessions that expired, live ones and tombstones alike, and bringing
together what diverged.

By the revisions that the index showed, so a session that was saved meanwhile is left alone, and
several hosts may do it at once. Killed between any two requests, the next run goes on. What expires
while a run is under way is the next one's.

Anybody who may write to the database may write documents that look like sessions. One that cannot
be worked with is passed over and reported, and keeps no other from being collected; and what does
not say in so many seconds when it expires, never does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

from ....clock import SYSTEM_CLOCK, Clock
from ...deadline import Deadline
from ...garbage import GCOptions, GCResult
from ...record import Record
from .. import documents
from ..branches import Branches
from ..client import Client, DatabaseMissing, DesignMissing, DocumentMissing, RevisionConflict
from ..client.answers import is_whole
from ..client.paging import pages
from ..designs.design import BY_EXPIRY, CONFLICTED
from ..reporting import Reporter, is_outage, told
from .expired import ExpiryIndex, parts, read_ahead
from .removal import Leaves, Removal

# In CouchDB's order null, false and true come before all numbers, strings and all else after them.
BEFORE_TIMES = {"endkey": 0, "inclusive_end": False}
AFTER_TIMES = {"startkey": ""}
# How many documents of those kinds are reported by name.
MOST_NAMED = 20


# Documents to be removed, by id.
Batch = dict[str, Leaves]


class OutOfTime(Exception):
    """
    `max_seconds` are over.
    """


class GarbageCollector:
    """
    One run. before: what was retained no longer than until then, in seconds since the epoch, is
    removed.

    branches: reads those of a document that was read with its conflicts. shuffle: puts a list into
    random order.
    """

    def __init__(
        self,
        client: Client,
        before: int,
        options: GCOptions,
        *,
        branches: Callable[[str, dict[str, Any]], Branches],
        as_json: bool,
        reporter: Reporter,
        clock: Clock = SYSTEM_CLOCK,
        shuffle: Callable[[list[Any]], object] = random.shuffle,
    ) -> None:
        self._client = client
        self._index = ExpiryIndex(client)
        self._shuffle = shuffle
        self._before = before
        self._options = options
        self._branches = branches
        self._as_json = as_json
        self._reporter = reporter
        self._clock = clock
        self._deadline = (
            None if options.max_seconds is None else Deadline(options.max_seconds, clock.monotonic)
        )
        self.cleared = GCResult()
        self._removal = Removal(client, options.batch_size, self.cleared, self._pass_over)

    def run(self) -> GCResult:
        """
        Collect until nothing is left, or as long and as much as the options say.
        """
        self.cleared.total = self._count_expired()
        if self._options.dry_run:
            self.cleared.seen = self.cleared.total
            return self.cleared
        try:
            self._merge_conflicted()
            self._remove_expired()
            self._report_without_expiry()
        except OutOfTime:
            pass
        return self.cleared

    def _count_expired(self) -> int:
        total = self._index.count(startkey=0, endkey=self._before, inclusive_end=False)
        return total if self._options.limit is None else min(total, self._options.limit)

    def _check_time(self) -> None:
        if self._deadline is not None and self._deadline.left < 0:
            raise OutOfTime

    def _pass_over(self, doc_id: str, why: object) -> None:
        self.cleared.passed_over += 1
        self._reporter.pass_over(doc_id, why)

    def _left(self) -> int | None:
        """
        Return how many may still be removed, None if that is not limited.
        """
        limit = self._options.limit
        return None if limit is None else max(limit - self.cleared.seen, 0)

    def _rows(
        self, view: str, most: int | None = None, **query: Any
    ) -> Iterator[list[dict[str, Any]]]:
        """
        Yield a view's rows, a batch at a time, never a row twice. most: how many.
        """
        size, read = self._options.batch_size, 0

        def page_size() -> int:
            # A server may have sent more than it was asked for.
            return size if most is None else max(min(size, most - read), 0)

        for rows in pages(partial(self._index.view, view), page_size, **query):
            read += len(rows)
            yield rows

    def _remove_expired(self) -> None:
        queries = parts(
            self._index, self._before, self.cleared.total, self._options.batch_size, self._shuffle
        )
        with ThreadPoolExecutor(1, "distsession-reader") as reader:
            begun = [self._read_part(query, reader) for query in queries]
            for part in [part for part in begun if not self._remove_part(part)]:
                self._remove_part(part, to_the_end=True)

    def _read_part(self, query: dict[str, Any], reader: Executor) -> Iterator[Batch]:
        # A server that cannot purge may not know startkey_docid either; then pages are told apart
        # by counting rows, of which none may go away meanwhile.
        return read_ahead(self._expired(query), reader, lambda: self._removal.has_purged)

    def _remove_part(self, batches: Iterator[Batch], *, to_the_end: bool = False) -> bool:
        """
        Remove documents. False if another host was met, to which the rest was left.
        """
        for batch in batches:
            if (left := self._left()) is not None and left < len(batch):
                # It was read before other parts used up the limit.
                batch = dict(islice(batch.items(), left))
            self.cleared.seen += len(batch)
            skipped = self.cleared.skipped
            if batch:
                self._removal.remove(batch)
            if self._options.progress:
                self._options.progress(self.cleared)
            self._check_time()
            if batch and self.cleared.skipped - skipped == len(batch):
                self._index.mark_outdated()
                if not to_the_end:
                    return False
        return True

    def _expired(self, query: dict[str, Any]) -> Iterator[Batch]:
        for rows in self._rows(BY_EXPIRY, self._left(), **query):
            batch = {}
            for row in rows:
                if not is_whole(row["key"]):
                    self._pass_over(row["id"], "it says nothing usable of its expiry.")
                elif (leaves := _leaves(row["value"])) is None:
                    self._pass_over(row["id"], "the index shows no revisions of it.")
                else:
                    batch[row["id"]] = leaves
            yield batch

    def _report_without_expiry(self) -> None:
        """
        Report what may be another application's: nothing of it is ever removed.
        """
        for kinds in (BEFORE_TIMES, AFTER_TIMES):
            count = self._index.count(**kinds)
            if not count:
                continue
            rows = self._index.view(BY_EXPIRY, limit=MOST_NAMED, reduce=False, **kinds)
            for row in rows:
                self._reporter.pass_over(row["id"], "it says nothing usable of its expiry.")
            self.cleared.passed_over += count

    def _merge_conflicted(self) -> None:
        for rows in self._rows(CONFLICTED):
            for row in rows:
                if self._left() == 0:
                    return
                try:
                    self._merge(row["id"], row["value"])
                except (DatabaseMissing, DesignMissing):
                    raise
                except Exception as error:
                    if is_outage(error):
                        raise
                    self._pass_over(row["id"], told(error))
                self._check_time()

    def _merge(self, storage_id: str, gone: Any) -> None:
        try:
            document = self._client.get(storage_id, conflicts=True)
        except DocumentMissing:
            return
        losing = document.get("_conflicts", [])
        if not losing:
            return
        self._index.mark_outdated()
        branches = self._branches(storage_id, document)
        if not branches.left and all(map(self._is_past, branches.leaves)):
            self.cleared.seen += 1
            live = [document["_rev"], *losing]
            self._removal.remove({storage_id: _leaves([live, gone]) or Leaves(live, [])})
            return
        if branches.record and branches.seen:
            if not self._write(storage_id, branches.record, branches.winner):
                return
            self._removal.remove_branches(storage_id, branches.seen)
            self.cleared.merged += 1
        if branches.unread:
            self._pass_over(storage_id, f"{branches.unread} of its branches cannot be read.")
        elif branches.left:
            self._pass_over(storage_id, f"{branches.left} branches are left for the next run.")

    def _is_past(self, leaf: dict[str, Any]) -> bool:
        """
        Whether no copy of what this branch says lives any more, as far as it says so.
        """
        times: tuple[Any, Any] = (leaf.get("expires_at"), leaf.get("retain_until", 0))
        return all(is_whole(at) and at < self._before for at in times)

    def _write(self, storage_id: str, record: Record, rev: str) -> bool:
        now = int(self._clock.now())
        merged = documents.to_document(storage_id, record, rev, now, as_json=self._as_json)
        try:
            return self._client.put(merged).quorum_reached
        except RevisionConflict:
            # Whoever saved it has seen the branches, or the next run will.
            return False


def _leaves(value: Any) -> Leaves | None:
    """
    Return what a row of the index says, None if it does not look like that.
    """
    match value:
        case [[str(), *_] as live, list(gone)] if all(isinstance(one, str) for one in live + gone):
            return Leaves(live, gone)
    return None
