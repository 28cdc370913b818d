"""
Records in CouchDB. A token is the document's revision.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ... import suspicious
from ...exceptions import StoreMisconfigured, StoreUnavailable
from ..base import Cleared, Conflict, Copy, DurableStore, Found, Record, Token
from . import documents
from .client import Client, DatabaseMissing, DocumentMissing, RevisionConflict
from .collection import collect
from .setup import set_up

T = TypeVar("T")

# How often a write that needs no particular revision is tried against others.
MAX_TRIES = 10

# An expired session stays this long, in seconds, lest a clock that is ahead remove it early.
CLOCK_SKEW = 300


class CouchDBStore(DurableStore):
    """
    client: for the request path. admin: for set-up and garbage collection.
    create: whether to make a missing database on first use.
    as_json: whether payloads are JSON to be kept as such.
    """

    def __init__(
        self,
        client: Client,
        admin: Client,
        *,
        create: bool = True,
        member: str | None = None,
        as_json: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._admin = admin
        self._create = create
        self._member = member
        self._as_json = as_json
        self._clock = clock

    def get(self, storage_id: str) -> Found | None:
        """
        Read the document: one GET.
        """
        try:
            document = self._set_up_if_missing(lambda: self._client.get(storage_id))
        except DocumentMissing:
            return None
        try:
            record = documents.to_record(document, as_json=self._as_json)
        except documents.ForeignDocument:
            suspicious.report("A document that is no session of ours", "CouchDB")
            return None
        return Found(record, document["_rev"])

    def add(self, storage_id: str, record: Record) -> Token:
        """
        Store a new document: one PUT.
        """
        return self._put(storage_id, record, None)

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        """
        Store a new revision: one PUT.
        """
        return self._put(storage_id, record, token)

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        """
        Store a tombstone as the next revision: one PUT where the revision is known, else a GET
        first. Where there is no document, there is nothing to end.
        """
        tombstone = Record.tombstone(expires_at)
        for _ in range(MAX_TRIES):
            if token is None:
                found = self.get(storage_id)
                if found is None or found.record.ended:
                    return
                token = found.token
            try:
                self._put(storage_id, tombstone, token)
            except Conflict as conflict:
                if conflict.found is None or conflict.found.record.ended:
                    return
                token = conflict.found.token
            else:
                return
        raise StoreUnavailable("A session in CouchDB kept changing while it was being ended.")

    def clear_expired(self) -> Cleared:
        """
        Purge what expired, or delete it where purging is not possible.
        """
        before = int(self._clock()) - CLOCK_SKEW
        return self._set_up_if_missing(lambda: collect(self._admin, before))

    def inspect(self, storage_id: str) -> list[Copy]:
        """
        Return the one copy, with its document.
        """
        place = self._client.place
        try:
            document = self._client.get(storage_id)
            record = documents.to_record(document, as_json=self._as_json)
        except StoreUnavailable:
            return [Copy("couchdb", place, "unavailable")]
        except (DocumentMissing, DatabaseMissing, documents.ForeignDocument):
            return [Copy("couchdb", place, "absent")]
        detail = {"database": self._client.name, "document": document}
        version = None if record.ended else record.version
        return [Copy("couchdb", place, "ended" if record.ended else "live", version, detail=detail)]

    def close(self) -> None:
        """
        Close all connections.
        """
        self._client.close()
        self._admin.close()

    def _put(self, storage_id: str, record: Record, rev: str | None) -> str:
        document = documents.to_document(storage_id, record, rev, as_json=self._as_json)
        try:
            return self._set_up_if_missing(lambda: self._client.put(document))
        except RevisionConflict:
            found = self.get(storage_id)
            if found is not None and found.record.version == record.version:
                # Our own write, whose reply was lost.
                return str(found.token)
            raise Conflict(found) from None

    def _set_up_if_missing(self, request: Callable[[], T]) -> T:
        try:
            return request()
        except DatabaseMissing:
            if not self._create:
                raise StoreMisconfigured(
                    f"The CouchDB database {self._client.name!r} does not exist, and "
                    'DISTSESSION["COUCHDB"]["CREATE"] is False. Create it, or set CREATE to True.'
                ) from None
        set_up(self._admin, self._member)
        try:
            return request()
        except DatabaseMissing as error:
            raise StoreUnavailable("CouchDB does not show the database just created.") from error
