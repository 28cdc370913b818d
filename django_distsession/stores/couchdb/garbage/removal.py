"""
Removing documents by the revisions that an index showed: purging them, of which nothing stays, or
where the server cannot or does not let us, deleting them, which leaves CouchDB's own small stubs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from ....exceptions import StoreMisconfigured, StoreUnavailable
from ...garbage import GCResult
from ..branches import BRANCHES_AT_ONCE, remove_branches, stub
from ..client import Client, RequestFailed, RequestRefused
from ..client.client import portions

# CouchDB before 3.5.1 takes no more documents in one _purge.
SMALL_PURGE = 100
# Nor more revisions than these.
REVS_AT_ONCE = 1000

T = TypeVar("T")


class Leaves(NamedTuple):
    """
    The ends of a document's branches, the winning one first. gone: those that are deleted.
    """

    live: list[str]
    gone: list[str]

    @property
    def winner_last(self) -> list[str]:
        """
        All of them, in the order in which they may go: the winner may be the tombstone that keeps
        the others from coming back.
        """
        return [*self.gone, *reversed(self.live)]


class Removal:
    """
    batch_size: how many documents in one request. cleared: where it is counted.
    pass_over: is told the id of a document that could not be removed, and why.
    has_purged: whether the server has done what it was asked.
    """

    def __init__(
        self,
        client: Client,
        batch_size: int,
        cleared: GCResult,
        pass_over: Callable[[str, object], None],
    ) -> None:
        self._client = client
        self._cleared = cleared
        self._pass_over = pass_over
        self._may_purge = True
        self.has_purged = False
        self._purge_size = batch_size
        self._failed: set[str] = set()

    def remove(self, batch: Mapping[str, Leaves]) -> None:
        """
        Remove documents. `StoreUnavailable` if the server fails at every one of several.
        """
        self._failed.clear()
        purged = self._purge_leaves(batch)
        gone = {key for key, leaves in batch.items() if (key, leaves.live[0]) in purged}
        self._cleared.purged += len(gone)
        if self._may_purge:
            self._cleared.skipped += len(batch) - len(gone | self._failed)
        else:
            self._delete({key: leaves for key, leaves in batch.items() if key not in gone})
        if len(self._failed) == len(batch) > 1:
            raise StoreUnavailable(f"CouchDB at {self._client.place} removes no document.")

    def remove_branches(self, storage_id: str, revs: list[str]) -> None:
        """
        Remove losing leaves whose content is in the winning one.
        """
        self._failed.clear()
        if not self._purge_leaves({storage_id: Leaves(revs, [])}):
            remove_branches(self._client, storage_id, revs)

    def _fail(self, storage_id: str, why: object) -> None:
        if storage_id not in self._failed:
            self._failed.add(storage_id)
            self._pass_over(storage_id, why)

    def _purge_leaves(self, batch: Mapping[str, Leaves]) -> set[tuple[str, str]]:
        """
        Purge, and return the ids and revisions that are gone. Notes if the server does not let us.
        """
        gone: set[tuple[str, str]] = set()

        def purge(ids: Sequence[str]) -> None:
            leaves = [(key, rev) for key in ids for rev in batch[key].winner_last]
            for portion in portions(leaves, REVS_AT_ONCE):
                if self._may_purge:
                    gone.update(self._purge(portion))

        def purge_in_portions(ids: Sequence[str]) -> None:
            for portion in portions(ids, self._purge_size):
                try:
                    in_parts(portion, purge, self._fail)
                except TooMany:
                    self._purge_size = SMALL_PURGE
                    purge_in_portions(portion)

        purge_in_portions(list(batch))
        return gone

    def _purge(self, leaves: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        revisions: dict[str, list[str]] = {}
        for key, rev in leaves:
            revisions.setdefault(key, []).append(rev)
        try:
            answer = self._client.purge(revisions)
        except RequestRefused as error:
            if len(revisions) > SMALL_PURGE:
                raise TooMany from error
            if self.has_purged:
                raise
            self._give_up_purging(f"the server cannot purge: {str(error).rstrip('.')}")
            return set()
        except StoreMisconfigured:
            self._give_up_purging("purging is a server admin's right; set ADMIN_URL")
            return set()
        self.has_purged = True
        return {(key, rev) for key in revisions for rev in answer.get(key) or ()}

    def _give_up_purging(self, why: str) -> None:
        self._may_purge = False
        self._cleared.no_purge = why

    def _delete(self, batch: Mapping[str, Leaves]) -> None:
        losers = [(key, rev) for key, leaves in batch.items() for rev in leaves.live[:0:-1]]
        winners = [(key, leaves.live[0]) for key, leaves in batch.items()]
        self._delete_leaves(losers, BRANCHES_AT_ONCE)
        for (key, _), error in self._delete_leaves(winners, len(winners)).items():
            if not error:
                self._cleared.deleted += 1
            elif error == "conflict":
                self._cleared.skipped += 1
            else:
                self._fail(key, f"CouchDB could not delete it ({error}).")

    def _delete_leaves(
        self, leaves: list[tuple[str, str]], at_once: int
    ) -> dict[tuple[str, str], str]:
        """
        Delete leaves, so many in a request. Returns the error of each, "" where there is none.
        """
        errors = dict.fromkeys(leaves, "no answer")

        def delete(some: Sequence[tuple[str, str]]) -> None:
            answers = self._client.bulk_docs([stub(*leaf) for leaf in some], patient=True)
            for leaf, answer in zip(some, answers, strict=False):
                errors[leaf] = str(answer.get("error", ""))

        for portion in portions(leaves, at_once):
            in_parts(portion, delete, lambda leaf, error: errors.update({leaf: str(error)}))
        return errors


class TooMany(Exception):
    """
    The server takes fewer documents in one request.
    """


def in_parts(
    items: Sequence[T],
    act: Callable[[Sequence[T]], None],
    failed: Callable[[T, RequestFailed], object],
) -> None:
    """
    Act on all items at once; where the server fails at that, on one half after the other, so that
    one item that it fails at keeps no other from being done.

    failed: is told of such an item.
    """
    try:
        act(items)
    except RequestFailed as error:
        if len(items) == 1:
            failed(items[0], error)
            return
        middle = len(items) // 2
        in_parts(items[:middle], act, failed)
        in_parts(items[middle:], act, failed)
