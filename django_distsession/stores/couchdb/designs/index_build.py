"""
Building the index of a design document that nobody uses yet, and telling how far it is.

No request waits for the index: a server, a proxy or a time-out on the way would cut it off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Any

from ....clock import SYSTEM_CLOCK, Clock
from ....exceptions import StoreMisconfigured, StoreUnavailable
from ..client import Client, RequestRefused

# How many documents done, of how many.
Progress = Callable[[int, int], None]

INTERVAL = 0.5
# Seconds in which an index has to advance at all.
PATIENCE = 900.0
# An index so near to its end is waited for. It never gets there by itself where sessions are saved
# all the time.
NEARLY = 1000


class IndexBuild:
    """
    design, view: the names of the document and of any view in it; they share the index.
    """

    def __init__(
        self,
        client: Client,
        design: str,
        view: str,
        progress: Progress,
        *,
        interval: float = INTERVAL,
        patience: float = PATIENCE,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._client = client
        self._design = design
        self._view = view
        self._progress = progress
        self._interval = interval
        self._patience = patience
        self._clock = clock
        self._tasks: dict[str, tuple[int, int]] = {}
        self._is_building = False
        self._first_pending = 0
        self._least_pending = inf
        self._advanced_at = 0.0

    def run(self) -> None:
        """
        Return when the index is there.
        """
        self._advanced_at = self._clock.monotonic()
        while not self._is_there():
            time.sleep(self._interval)

    def _is_there(self) -> bool:
        failure = None
        try:
            if not self._is_building:
                # Again, too, should the indexer have crashed.
                self._ask(update="lazy")
            pending, self._is_building = self._state()
            if pending <= NEARLY:
                self._ask()
                self._report(0)
                return True
            self._report(pending)
            if pending < self._least_pending:
                self._least_pending, self._advanced_at = pending, self._clock.monotonic()
        except StoreMisconfigured:
            raise
        except StoreUnavailable as error:
            # Indexing is hard work for a server: it may be slow to answer.
            self._is_building, failure = False, error
        if self._clock.monotonic() - self._advanced_at > self._patience:
            raise StoreUnavailable(
                f"The index of {self._design!r} has not advanced for {self._patience:.0f} seconds. "
                "Look into CouchDB's log, then run the command again: it goes on where CouchDB is."
            ) from failure
        return False

    def _ask(self, **query: Any) -> None:
        self._client.view(self._design, self._view, limit=1, reduce=False, **query)

    def _state(self) -> tuple[int, bool]:
        """
        Return how many documents are not in the index yet, and whether it is being built.
        """
        try:
            index = self._client.view_info(self._design).get("view_index")
        except RequestRefused:
            index = None
        told = index.get("updates_pending") if isinstance(index, dict) else None
        if index is None or not isinstance(told, dict):
            # Such a server has answered the first query only when the index was there.
            return 0, False
        return int(told.get("minimum", 0)), bool(index.get("updater_running"))

    def _report(self, pending: int) -> None:
        """
        Tell the progress of CouchDB's tasks; who may not see them is told what is pending.
        """
        running = self._running()
        # A task that is no longer there has ended.
        self._tasks = {
            key: running.get(key, (total, total)) for key, (_, total) in self._tasks.items()
        } | running
        done = sum(done for done, _ in self._tasks.values())
        total = sum(total for _, total in self._tasks.values())
        if not total:
            total = self._first_pending = max(self._first_pending, pending)
            done = total - pending
        if total:
            self._progress(total if not pending else min(done, total), total)

    def _running(self) -> dict[str, tuple[int, int]]:
        try:
            tasks = self._client.active_tasks()
        except StoreUnavailable:
            # Seeing tasks is a server admin's right, and not each server has them.
            return {}
        return {
            f"{task.get('node')} {task['database']}": (task["changes_done"], task["total_changes"])
            for task in tasks
            if task.get("type") == "indexer"
            and task.get("design_document") == f"_design/{self._design}"
            and _name(task["database"]) == self._client.name
        }


def _name(database: str) -> str:
    """
    Return the name of the database that a task's shard, "shards/0-7fffffff/name.123", is part of.
    """
    if not database.startswith("shards/"):
        return database
    return database.split("/", 2)[2].rpartition(".")[0]
