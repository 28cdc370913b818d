"""
Conditional reads: where nothing changed, CouchDB answers 304 and sends no document.

The difficulty. CouchDB's ETag names the *winning* revision, and it gives none to a reply that
tells the conflicts. So a 304 says that the winner is what it was, and nothing about other
branches; one of them may hold the end of the session, or a change that was acknowledged.

The arrangement, where a site turns conditional reads on:

1. *A session that ended on any branch is never read as live.* An end is written twice: as the
   next revision, as always, so that whoever saves by the old one learns of it; and as a revision
   of a generation that no live branch reaches (`OUTRANKING`), as replication would write it. The
   longest branch wins in CouchDB, on every node and in every replica, so wherever the end has
   arrived it *is* the winner, and the ETag of anything else no longer matches. `end` returns only
   after both writes.
2. *No acknowledged change is lost.* Only a document without conflicts is remembered, and a save
   names the revision it replaces, so it extends its own branch and removes none that it has not
   read. A branch beside the winner therefore stays until a read with conflicts merges it.
3. *It is also seen soon.* After `CHECK_AFTER` seconds since all branches were looked at, the next
   read of a session is not conditional. A save answered 202, the sign that branches may have
   arisen, is not remembered at all.

All processes that share a database have to have the same setting: 1. holds for ends that were
written with it. What a server without such ETags answers to a conditional read is the whole
document, which is right too, only no faster.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ...clock import SYSTEM_CLOCK, Clock
from ...exceptions import StoreUnavailable
from ..contract import Versioned
from ..deadline import Deadline
from ..operations import Call, Operation
from ..record import Record
from . import documents, tokens
from .branches import Read
from .client import Client, DatabaseMissing, DocumentMissing
from .http.transport import dump
from .recent import Known, Recent

# Seconds.
CHECK_AFTER = 60.0

# No session is saved that often.
OUTRANKING = 2**32


class ConditionalReads:
    """
    What a store with conditional reads remembers, and what it does at the end of a session.
    """

    def __init__(self, entries: int, size: int, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.recent = Recent(entries, size)
        self._clock = clock

    def known(self, storage_id: str) -> Known | None:
        """
        Return what a conditional read compares with; None if it is not time for one.
        """
        known = self.recent.get(storage_id)
        if known is None or self._clock.monotonic() - known.validated_at > CHECK_AFTER:
            return None
        return known

    def read_gen(
        self, client: Client, read: Read, storage_id: str, known: Known
    ) -> Operation[Versioned | None]:
        """
        Read a session that changed since it was known; else return what is known.
        """
        rev, _ = tokens.split(known.found.token)
        try:
            document = yield Call(client.get_unless, storage_id, rev or "", client.deadline())
        except (DocumentMissing, DatabaseMissing):
            self.checked(storage_id, None)
            return None
        if document is None:
            return known.found
        record = read(document)
        if record is None:
            return None
        found = Versioned(record, tokens.join(document["_rev"]))
        self.changed(storage_id, found, known)
        return found

    def checked(self, storage_id: str, found: Versioned | None) -> None:
        """
        Note what a read with conflicts found.
        """
        if found is None or found.record.ended or tokens.split(found.token)[1]:
            self.recent.forget(storage_id)
        else:
            self.recent.put(storage_id, Known(found, self._clock.monotonic()))

    def changed(self, storage_id: str, found: Versioned, before: Known | None) -> None:
        """
        Note a later revision of the same branch, read conditionally or written.
        """
        if before is None or found.record.ended:
            self.recent.forget(storage_id)
        else:
            self.recent.put(storage_id, Known(found, before.validated_at))


def outrank(client: Client, storage_id: str, tombstone: Record, deadline: Deadline) -> None:
    """
    Write the end of a session so that it wins over every branch. May be repeated.
    """
    # One revision, one content, whoever writes it, and when.
    document: dict[str, Any] = documents.to_document(
        storage_id, tombstone, None, tombstone.expires_at, as_json=False
    )
    digest = hashlib.blake2b(dump(document), digest_size=16).hexdigest()
    document["_rev"] = f"{OUTRANKING}-{digest}"
    document["_revisions"] = {"start": OUTRANKING, "ids": [digest]}
    if any("error" in answer for answer in client.bulk_docs([document], deadline, new_edits=False)):
        raise StoreUnavailable(f"CouchDB at {client.place} did not take the end of a session.")
