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
from ..abilities import Copy, DurableStore, UserSession
from ..contract import Conflict, Merge, Token, Versioned
from ..deadline import Deadline
from ..garbage import GCOptions, GCResult
from ..record import Record
from . import documents, tokens, users
from .branches import Branches, read_branches, read_whole, try_to_remove_branches
from .client import (
    AnswerUnexpected,
    Client,
    DatabaseMissing,
    DesignMissing,
    DocumentMissing,
    RevisionConflict,
)
from .conditional import ConditionalReads, outrank
from .designs.setup import COMMAND, URL, SetUp, check_address
from .ending import end
from .garbage.collector import GarbageCollector
from .reporting import Reporter

T = TypeVar("T")


class CouchDBStore(DurableStore):
    """
    client: for the request path; a plain member of the database will do.
    set_up: what makes a missing database; it also knows the client with an admin's rights.
    merge: brings the records of diverged branches together.
    as_json: whether payloads are JSON to be kept as such.
    conditional: for reads that transfer only what changed. None: each read transfers the document.
    hashed: whether storage ids are hashes; if not, they are session keys, which no log gets.
    index_timeout: seconds that a request waits for an index.
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
        index_timeout: float = 10.0,
        grace: int = 300,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._set_up = set_up
        self._merge = merge
        self._as_json = as_json
        self._conditional = conditional
        self._reporter = Reporter(hashed=hashed)
        self._index_timeout = index_timeout
        self._grace = grace
        self._clock = clock

    def get(self, storage_id: str) -> Versioned | None:
        """
        Read the document: one GET, and one more where there are conflicts.
        """
        deadline = self._client.deadline()
        known = self._conditional and self._conditional.known(storage_id)
        if not known or not self._conditional:
            return self._read(storage_id, deadline)
        rev, _ = tokens.split(known.found.token)
        try:
            document = self._client.get_unless(storage_id, rev or "", deadline)
        except (DocumentMissing, DatabaseMissing):
            self._conditional.checked(storage_id, None)
            return None
        if document is None:
            return known.found
        record = self._record(document)
        if record is None:
            return None
        found = Versioned(record, tokens.join(document["_rev"]))
        self._conditional.changed(storage_id, found, known)
        return found

    def _read(self, storage_id: str, deadline: Deadline) -> Versioned | None:
        """
        Read all branches.
        """

        def read(deadline: Deadline) -> Versioned | None:
            return read_whole(self._client, self._merge, self._record, storage_id, deadline)

        try:
            found = self._ready(read, deadline)
        except DocumentMissing:
            found = None
        if self._conditional:
            self._conditional.checked(storage_id, found)
        return found

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
        return self._put(storage_id, record, None, self._client.deadline())

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        """
        Store a new revision: one PUT. Where there were conflicts, another request removes them.
        """
        return self._put(storage_id, record, token, self._client.deadline())

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        """
        Store a tombstone as the next revision: one PUT where the revision is known, else a GET
        first. Where there is no document, there is nothing to end.

        It outlasts whoever saves the session meanwhile; `SessionContended` if it cannot. `TIMEOUT`
        is for each try.
        """
        client = self._client
        tombstone = end(
            Record.tombstone(expires_at),
            token,
            read=lambda: self._read(storage_id, client.deadline()),
            put=lambda record, token: self._put(storage_id, record, token, client.deadline()),
        )
        if self._conditional and tombstone is not None:
            outrank(client, storage_id, tombstone, client.deadline())

    def clear_expired(self, options: GCOptions | None = None) -> GCResult:
        """
        Purge what expired, or delete it where purging is not possible; merge what diverged.
        """
        before = int(self._clock()) - self._grace
        collection = GarbageCollector(
            self._set_up.admin,
            before,
            options or GCOptions(),
            branches=self._branches,
            as_json=self._as_json,
            reporter=self._reporter,
        )
        return self._ready(lambda _: collection.run(), self._client.deadline())

    def for_user(self, user: str) -> list[UserSession]:
        """
        Ask the index of users, for `index_timeout` seconds at the most.
        """
        now = int(self._clock())
        limit = Deadline(self._index_timeout)

        def ask(_: Deadline) -> list[UserSession]:
            return users.sessions(self._client, user, now, self._read_one, self._reporter, limit)

        try:
            return self._ready(ask, limit)
        except StoreUnavailable as error:
            if limit.left > 0:
                raise
            raise StoreUnavailable(
                f"CouchDB's index of users is catching up, and did not answer within the "
                f"{self._index_timeout:g} seconds of INDEX_TIMEOUT. Try again later. ({error})"
            ) from error

    def _read_one(self, storage_id: str, limit: Deadline) -> Versioned | None:
        return self._read(storage_id, limit.within(self._client.timeout))

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

    def is_down(self) -> bool:
        """
        Whether this process believes all nodes down.
        """
        return self._client.is_down()

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

    def _put(self, storage_id: str, record: Record, token: Token, deadline: Deadline) -> Token:
        rev, losers = tokens.split(token)
        document = documents.to_document(storage_id, record, rev, as_json=self._as_json)
        before = self._conditional and self._conditional.known(storage_id)
        if self._conditional:
            self._conditional.checked(storage_id, None)
        try:
            stored = self._ready(lambda deadline: self._client.put(document, deadline), deadline)
        except RevisionConflict:
            return self._confirm(storage_id, record, deadline)
        if not stored.quorum_reached:
            return self._confirm(storage_id, record, deadline, written=True)
        if losers:
            try_to_remove_branches(self._client, storage_id, losers, deadline)
        elif self._conditional and before:
            self._conditional.changed(storage_id, Versioned(record, stored.rev), before)
        return stored.rev

    def _confirm(
        self, storage_id: str, record: Record, deadline: Deadline, *, written: bool = False
    ) -> Token:
        """
        Return the token if what is stored is the record; else `Conflict`, with what is stored.

        After a 409 it may well be: then the reply to our own write was lost. After a 202 it may
        not: then others wrote too, and the caller has to save once more what it was to say.
        """
        found = self._read(storage_id, deadline)
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

    def _ready(self, request: Callable[[Deadline], T], deadline: Deadline) -> T:
        """
        Make a request; where the database or an index is missing, set it up and try again, by a
        deadline of its own: a set-up takes what it takes.
        """
        try:
            return request(deadline)
        except (DatabaseMissing, DesignMissing):
            pass
        except AnswerUnexpected as error:
            check_address(self._client, URL, deadline, error)
            raise
        try:
            self._set_up.run()
            return request(self._client.deadline())
        except DesignMissing as error:
            raise StoreMisconfigured(
                f"A design document of the CouchDB database {self._client.name!r} is older than "
                f'this code, and lacks an index. Run "{COMMAND}".'
            ) from error
        except DatabaseMissing as error:
            raise StoreUnavailable(
                f"CouchDB at {self._client.place} does not show what was just set up."
            ) from error
