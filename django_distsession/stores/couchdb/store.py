"""
Records in CouchDB, one document per session. What a token is, `tokens` tells.

Every read asks for conflicts and merges all branches (`branches`), unless conditional reads are
on (`conditional`). A save that finds the database missing has it made (`first_use`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ... import suspicious
from ...clock import SYSTEM_CLOCK, Clock
from ...exceptions import StoreUnavailable
from ..abilities import Copy, DurableStore, UserSession
from ..contract import Conflict, Merge, Token, Versioned
from ..deadline import Deadline
from ..garbage import GCOptions, GCResult
from ..operations import Call, GeneratorStore, Operation, run
from ..record import Record
from . import documents, ending, tokens, users
from .branches import Branches, branches_gen, merged_gen, try_to_remove_branches
from .client import Client, DatabaseMissing, DocumentMissing, RevisionConflict
from .conditional import ConditionalReads, outrank
from .designs.setup import SetUp
from .first_use import NOT_READY, FirstUse
from .garbage.collector import GarbageCollector
from .reporting import Reporter


class CouchDBStore(GeneratorStore, DurableStore):
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
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._client = client
        self._admin = set_up.admin
        self._admin.share_health(client)
        self._first_use = FirstUse(client, set_up)
        self._merge = merge
        self._as_json = as_json
        self._conditional = conditional
        self._reporter = Reporter(hashed=hashed)
        self._index_timeout = index_timeout
        self._grace = grace
        self._clock = clock

    # Reading.

    def get_gen(self, storage_id: str) -> Operation[Versioned | None]:
        conditional = self._conditional
        if conditional and (known := conditional.known(storage_id)):
            return conditional.read_gen(self._client, self._record, storage_id, known)
        return self._read_gen(storage_id)

    def refresh_gen(self, storage_id: str, at_least: int) -> Operation[Versioned | None]:
        return self._read_gen(storage_id)

    def _read_gen(
        self, storage_id: str, deadline: Deadline | None = None, *, again: bool = False
    ) -> Operation[Versioned | None]:
        """
        Read all branches: one GET, and one more where there are conflicts.

        again: whether this is the second try.
        """
        client = self._client
        deadline = deadline or Deadline(client.timeout, self._clock.monotonic)
        found = None
        try:
            document = yield Call(client.get, storage_id, deadline, True)
            if document.get("_conflicts"):
                found = yield from merged_gen(
                    client, self._merge, self._record, storage_id, document, deadline
                )
            elif (record := self._record(document)) is not None:
                found = Versioned(record, tokens.join(document["_rev"]))
        except DocumentMissing:
            pass
        except NOT_READY as error:
            if again:
                raise
            read = partial(self._read_gen, storage_id, again=True)
            return (yield from self._first_use.retry_gen(error, deadline, read))
        if self._conditional:
            self._conditional.checked(storage_id, found)
        return found

    def _record(self, document: dict[str, Any]) -> Record | None:
        try:
            return documents.to_record(document, as_json=self._as_json)
        except documents.ForeignDocument:
            suspicious.report("A document that is no session of ours", "CouchDB")
            return None

    # Writing.

    def add_gen(self, storage_id: str, record: Record) -> Operation[Token]:
        return self._put_gen(storage_id, record, None)

    def replace_gen(self, storage_id: str, record: Record, token: Token) -> Operation[Token]:
        return self._put_gen(storage_id, record, token)

    def _put_gen(
        self,
        storage_id: str,
        record: Record,
        token: Token,
        deadline: Deadline | None = None,
        *,
        again: bool = False,
    ) -> Operation[Token]:
        """
        Store a revision: one PUT. Where there were conflicts, another request removes them.
        """
        client, conditional = self._client, self._conditional
        deadline = deadline or Deadline(client.timeout, self._clock.monotonic)
        rev, losers = tokens.split(token)
        now = int(self._clock.now())
        document = documents.to_document(storage_id, record, rev, now, as_json=self._as_json)
        before = None
        if conditional:
            before = conditional.known(storage_id)
            conditional.checked(storage_id, None)
        try:
            stored = yield Call(client.put, document, deadline)
        except RevisionConflict:
            return (yield from self._confirm_gen(storage_id, record, deadline))
        except NOT_READY as error:
            if again:
                raise
            put = partial(self._put_gen, storage_id, record, token, again=True)
            return (yield from self._first_use.retry_gen(error, deadline, put))
        if not stored.quorum_reached:
            return (yield from self._confirm_gen(storage_id, record, deadline, written=True))
        if losers:
            yield Call(try_to_remove_branches, client, storage_id, losers, deadline)
        elif conditional and before:
            conditional.changed(storage_id, Versioned(record, stored.rev), before)
        return stored.rev

    def _confirm_gen(
        self, storage_id: str, record: Record, deadline: Deadline, *, written: bool = False
    ) -> Operation[Token]:
        """
        Return the token if what is stored is the record; else `Conflict`, with what is stored.

        After a 409 it may well be: then the reply to our own write was lost. After a 202 it may
        not: then others wrote too, and the caller has to save once more what it was to say.
        """
        found = yield from self._read_gen(storage_id, deadline)
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

    def end_gen(self, storage_id: str, expires_at: int, token: Token = None) -> Operation[None]:
        """
        Store a tombstone as the next revision: one PUT where the revision is known, else a GET
        first. Where there is no document, there is nothing to end.

        It outlasts whoever saves the session meanwhile; `SessionContended` if it cannot. `TIMEOUT`
        is for each try.
        """
        tombstone = yield from ending.end_gen(
            Record.tombstone(expires_at),
            token,
            read=partial(self._read_gen, storage_id),
            put=partial(self._put_gen, storage_id),
            clock=self._clock,
        )
        if self._conditional and tombstone is not None:
            client = self._client
            yield Call(outrank, client, storage_id, tombstone, client.deadline())

    # For commands and people.

    def clear_expired(self, options: GCOptions | None = None) -> GCResult:
        """
        Purge what expired, or delete it where purging is not possible; merge what diverged.
        """
        collector = GarbageCollector(
            self._admin,
            int(self._clock.now()) - self._grace,
            options or GCOptions(),
            branches=self._branches,
            as_json=self._as_json,
            reporter=self._reporter,
            clock=self._clock,
        )
        return self._first_use.ready(lambda _: collector.run(), self._client.deadline())

    def _branches(self, storage_id: str, document: dict[str, Any]) -> Branches:
        return run(branches_gen(self._admin, self._merge, self._record, storage_id, document))

    def for_user(self, user: str) -> list[UserSession]:
        """
        Ask the index of users, for `index_timeout` seconds at the most.
        """
        now = int(self._clock.now())
        limit = Deadline(self._index_timeout, self._clock.monotonic)

        def ask(_: Deadline) -> list[UserSession]:
            return users.sessions(self._client, user, now, self._read_one, self._reporter, limit)

        try:
            return self._first_use.ready(ask, limit)
        except StoreUnavailable as error:
            if limit.left > 0:
                raise
            raise StoreUnavailable(
                f"CouchDB's index of users is catching up, and did not answer within the "
                f"{self._index_timeout:g} seconds of INDEX_TIMEOUT. Try again later. ({error})"
            ) from error

    def _read_one(self, storage_id: str, limit: Deadline) -> Versioned | None:
        return run(self._read_gen(storage_id, limit.within(self._client.timeout)))

    def inspect(self, storage_id: str) -> list[Copy]:
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
        return self._client.is_down()

    def status(self) -> list[dict[str, Any]]:
        return self._client.status()

    def close(self) -> None:
        self._client.close()
        self._admin.close()
