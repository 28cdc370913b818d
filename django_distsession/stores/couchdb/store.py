"""
Records in CouchDB, one document per session. What a token is, `tokens` tells.

Every read asks for conflicts and merges all branches (`branches`), unless conditional reads are
on (`conditional`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from ... import suspicious
from ...exceptions import StoreMisconfigured, StoreUnavailable
from ..base import (
    Cleared,
    Conflict,
    Copy,
    DurableStore,
    Found,
    Merge,
    Record,
    Sweep,
    Token,
    UserSession,
)
from . import documents, tokens, users
from .branches import Branches, merge_branches, read_branches, try_to_remove_branches
from .client import Client, DatabaseMissing, DesignMissing, DocumentMissing, RevisionConflict
from .collection import Collection
from .conditional import ConditionalReads, outrank
from .reporting import Reporter
from .setup import COMMAND, SetUp

T = TypeVar("T")

# How often a write that needs no particular revision is tried against others.
MAX_TRIES = 10


class CouchDBStore(DurableStore):
    """
    client: for the request path; a plain member of the database will do.
    set_up: what makes a missing database; it also knows the client with an admin's rights.
    merge: brings the records of diverged branches together.
    as_json: whether payloads are JSON to be kept as such.
    conditional: for reads that transfer only what changed. None: each read transfers the document.
    hashed: whether storage ids are hashes; if not, they are session keys, which no log gets.
    grace: how long an expired session stays, in seconds, lest a clock that is ahead remove it.
    """

    def __init__(
        self,
        client: Client,
        set_up: SetUp,
        *,
        merge: Merge,
        as_json: bool = False,
        conditional: ConditionalReads | None = None,
        hashed: bool = True,
        grace: int = 300,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._set_up = set_up
        self._merge = merge
        self._as_json = as_json
        self._conditional = conditional
        self._reporter = Reporter(hashed=hashed)
        self._grace = grace
        self._clock = clock

    def get(self, storage_id: str) -> Found | None:
        """
        Read the document: one GET, and one more where there are conflicts.
        """
        known = self._conditional and self._conditional.known(storage_id)
        if not known or not self._conditional:
            return self._read(storage_id)
        rev, _ = tokens.split(known.found.token)
        try:
            document = self._client.get_unless(storage_id, rev or "")
        except (DocumentMissing, DatabaseMissing):
            self._conditional.checked(storage_id, None)
            return None
        if document is None:
            return known.found
        record = self._record(document)
        if record is None:
            return None
        found = Found(record, document["_rev"])
        self._conditional.changed(storage_id, found, known)
        return found

    def _read(self, storage_id: str) -> Found | None:
        """
        Read all branches.
        """
        try:
            document = self._ready(lambda: self._client.get(storage_id, conflicts=True))
        except DocumentMissing:
            found = None
        else:
            found = self._found(storage_id, document)
        if self._conditional:
            self._conditional.checked(storage_id, found)
        return found

    def _found(self, storage_id: str, document: dict[str, Any]) -> Found | None:
        if document.get("_conflicts"):
            return merge_branches(self._client, self._merge, self._record, storage_id, document)
        record = self._record(document)
        return None if record is None else Found(record, document["_rev"])

    def _branches(self, storage_id: str, document: dict[str, Any]) -> Branches:
        admin = self._set_up.admin
        return read_branches(admin, self._merge, self._record, storage_id, document)

    def _record(self, document: dict[str, Any]) -> Record | None:
        try:
            return documents.to_record(document, as_json=self._as_json)
        except documents.ForeignDocument:
            suspicious.report("A document that is no session of ours", "CouchDB")
            return None

    def add(self, storage_id: str, record: Record) -> Token:
        """
        Store a new document: one PUT.
        """
        return self._put(storage_id, record, None)

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        """
        Store a new revision: one PUT. Where there were conflicts, another request removes them.
        """
        return self._put(storage_id, record, token)

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        """
        Store a tombstone as the next revision: one PUT where the revision is known, else a GET
        first. Where there is no document, there is nothing to end.
        """
        tombstone = Record.tombstone(expires_at)
        found = None if token else self._read(storage_id)
        for _ in range(MAX_TRIES):
            if token is None:
                if found is None:
                    return
                if found.record.ended:
                    tombstone = found.record
                    break
                token = found.token
            try:
                self._put(storage_id, tombstone, token)
                break
            except Conflict as conflict:
                found, token = conflict.found, None
        else:
            raise StoreUnavailable("A session in CouchDB kept changing while it was being ended.")
        if self._conditional:
            outrank(self._client, storage_id, tombstone)

    def clear_expired(self, sweep: Sweep | None = None) -> Cleared:
        """
        Purge what expired, or delete it where purging is not possible; merge what diverged.
        """
        before = int(self._clock()) - self._grace
        collection = Collection(
            self._set_up.admin,
            before,
            sweep or Sweep(),
            branches=self._branches,
            as_json=self._as_json,
            reporter=self._reporter,
        )
        return self._ready(collection.run)

    def for_user(self, user: str) -> list[UserSession]:
        """
        Ask the index of users.
        """
        now = int(self._clock())
        return self._ready(
            lambda: users.sessions(self._client, user, now, self._read, self._reporter)
        )

    def inspect(self, storage_id: str) -> list[Copy]:
        """
        Return the one copy, with its document.
        """
        place = self._client.place
        try:
            document = self._client.get(storage_id, conflicts=True)
            record = documents.to_record(document, as_json=self._as_json)
        except StoreUnavailable:
            return [Copy("couchdb", place, "unavailable")]
        except (DocumentMissing, DatabaseMissing, documents.ForeignDocument):
            return [Copy("couchdb", place, "absent")]
        detail = {"database": self._client.name, "document": document}
        version = None if record.ended else record.version
        return [Copy("couchdb", place, "ended" if record.ended else "live", version, detail=detail)]

    def status(self) -> list[dict[str, Any]]:
        """
        Tell how each node is doing, as this process sees it.
        """
        return self._client.status()

    def close(self) -> None:
        """
        Close all connections.
        """
        self._client.close()
        self._set_up.admin.close()

    def _put(self, storage_id: str, record: Record, token: Token) -> Token:
        rev, losers = tokens.split(token)
        document = documents.to_document(storage_id, record, rev, as_json=self._as_json)
        before = self._conditional and self._conditional.known(storage_id)
        if self._conditional:
            self._conditional.checked(storage_id, None)
        try:
            stored = self._ready(lambda: self._client.put(document))
        except RevisionConflict:
            return self._confirm(storage_id, record)
        if not stored.certain:
            return self._confirm(storage_id, record, written=True)
        if losers:
            try_to_remove_branches(self._client, storage_id, losers)
        elif self._conditional and before:
            self._conditional.changed(storage_id, Found(record, stored.rev), before)
        return stored.rev

    def _confirm(self, storage_id: str, record: Record, *, written: bool = False) -> Token:
        """
        Return the token if what is stored is the record; else `Conflict`, with what is stored.

        After a 409 it may well be: then the reply to our own write was lost. After a 202 it may
        not: then others wrote too, and the caller has to save once more what it was to say.
        """
        found = self._read(storage_id)
        if written and self._conditional:
            # Other branches may be on their way.
            self._conditional.checked(storage_id, None)
        if found is not None and found.record.version == record.version:
            return found.token
        if found is None and written:
            raise StoreUnavailable(
                f"CouchDB at {self._client.place} took a session, but too few of its nodes did."
            )
        raise Conflict(found)

    def _ready(self, request: Callable[[], T]) -> T:
        """
        Make a request; where the database or an index is missing, set it up and try again.
        """
        try:
            return request()
        except (DatabaseMissing, DesignMissing):
            self._set_up.run()
        try:
            return request()
        except DesignMissing as error:
            raise StoreMisconfigured(
                f"A design document of the CouchDB database {self._client.name!r} is older than "
                f'this code, and lacks an index. Run "{COMMAND}".'
            ) from error
        except DatabaseMissing as error:
            raise StoreUnavailable(
                f"CouchDB at {self._client.place} does not show what was just set up."
            ) from error
