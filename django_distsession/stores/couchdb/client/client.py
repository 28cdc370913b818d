"""
couchdb3 with its traps mended: ids that are escaped, keys that are JSON, answers that are looked
at, and a handful of errors.

Nothing else in the package calls couchdb3. Every method raises `StoreUnavailable` (no answer, or
not one to work with), `StoreMisconfigured` (the server refuses us), `RecordTooLarge`, or one of
the outcomes in `errors`, which callers act upon.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from couchdb3.exceptions import PreconditionFailedError

from ....exceptions import StoreError
from ...deadline import Deadline
from .answers import (
    document_of,
    documents_of,
    leaves_of,
    list_of,
    object_of,
    rev_of,
)
from .errors import (
    AnswerUnexpected,
    DatabaseMissing,
    DesignMissing,
    DocumentMissing,
    LoginRefused,
    RequestFailed,
    RequestRefused,
    RevisionConflict,
    RightMissing,
    map_errors,
)
from .views import ViewReader

__all__ = [
    "AnswerUnexpected",
    "Client",
    "DatabaseMissing",
    "DesignMissing",
    "DocumentMissing",
    "LoginRefused",
    "RequestFailed",
    "RequestRefused",
    "RevisionConflict",
    "RightMissing",
    "Stored",
]

# How many revisions are named in one URL: CouchDB takes 8 KB.
REVS_IN_URL = 40

T = TypeVar("T")


class Stored(NamedTuple):
    """
    rev: the revision that a write made.
    quorum_reached: whether a quorum of the cluster took it (201); if not (202), it may be one
        branch of several.
    """

    rev: str
    quorum_reached: bool


class Client(ViewReader):
    """
    What we ask CouchDB. Where a method takes a deadline, it is that of the operation of the store
    which the request is a part of; without one, the request is one.
    """

    def get(self, doc_id: str, deadline: Deadline | None = None, **query: Any) -> dict[str, Any]:
        """
        Return a document.
        """
        with map_errors(self.place):
            return document_of(
                self.request("GET", _escape(doc_id), query=query, deadline=deadline), doc_id
            )

    def get_unless(
        self, doc_id: str, rev: str, deadline: Deadline | None = None
    ) -> dict[str, Any] | None:
        """
        Return a document, or None if its winning revision is still `rev`.
        """
        with map_errors(self.place):
            reply = self.request(
                "GET",
                _escape(doc_id),
                headers={"If-None-Match": f'"{rev}"'},
                deadline=deadline,
            )
            return None if reply.status_code == 304 else document_of(reply, doc_id)

    def leaves(
        self, doc_id: str, revs: Sequence[str], deadline: Deadline | None = None
    ) -> Iterator[dict[str, Any]]:
        """
        Yield those of a document's revisions that are there and not deleted.

        They are named in a URL, which may be only so long: so a portion at a time.
        """
        for portion in portions(revs, REVS_IN_URL):
            with map_errors(self.place):
                query = {"open_revs": json.dumps(portion)}
                reply = self.request("GET", _escape(doc_id), query=query, deadline=deadline)
                found = leaves_of(reply, doc_id, portion)
            yield from found

    def put(self, document: dict[str, Any], deadline: Deadline | None = None) -> Stored:
        """
        Store a document by the revision under `_rev`, or as a new one.
        """
        with map_errors(self.place, document, may_conflict=True):
            path = _escape(document["_id"])
            reply = self.request("PUT", path, body=document, deadline=deadline)
            return Stored(rev_of(reply, document["_id"]), reply.status_code != 202)

    def purge(self, revisions: dict[str, list[str]]) -> dict[str, list[str]]:
        """
        Remove revisions for good. Returns those that were removed.
        """
        with map_errors(self.place):
            reply = self.request("POST", "_purge", body=revisions, patient=True)
            return dict(object_of(reply)["purged"])

    def bulk_docs(
        self,
        documents: list[dict[str, Any]],
        deadline: Deadline | None = None,
        *,
        new_edits: bool = True,
        patient: bool = False,
    ) -> list[dict[str, Any]]:
        """
        Store many documents at once. Each answer has either `rev` or `error`.

        new_edits: if False, the revisions are taken as they are, as replication does it.
        patient: whether it may take long.
        """
        body: dict[str, Any] = {"docs": documents}
        if not new_edits:
            body["new_edits"] = False
        with map_errors(self.place):
            return list_of(
                self.request("POST", "_bulk_docs", body=body, deadline=deadline, patient=patient)
            )

    def delete(self, doc_id: str, rev: str) -> None:
        """
        Delete a document by its revision.
        """
        with map_errors(self.place, may_conflict=True):
            self.request("DELETE", _escape(doc_id), query={"rev": rev})

    def copy(self, doc_id: str, rev: str, to: str, over: str | None) -> None:
        """
        Copy one revision of a document to another id, over the revision `over`, if there is one.
        """
        destination = _escape(to) + (f"?rev={over}" if over else "")
        with map_errors(self.place, may_conflict=True):
            self.request(
                "COPY", _escape(doc_id), query={"rev": rev}, headers={"Destination": destination}
            )

    def design_documents(self) -> list[dict[str, Any]]:
        """
        Return all design documents.
        """
        query = {"startkey": '"_design/"', "endkey": '"_design0"', "include_docs": True}
        with map_errors(self.place):
            return documents_of(self.request("GET", "_all_docs", query=query))

    def active_tasks(self) -> list[dict[str, Any]]:
        """
        Return what the server is doing in the background, for all databases.
        """
        with map_errors(self.place):
            root = self._server.root or ""
            return list_of(self.request("GET", "_active_tasks", root=root))

    def info(self) -> dict[str, Any]:
        """
        Return the counts and sizes of the database.
        """
        with map_errors(self.place):
            return object_of(self.request("GET", None))

    def is_welcome(self, deadline: Deadline | None = None) -> bool:
        """
        Whether the server's address is that of a CouchDB, which says "Welcome" there.

        True if it says neither that nor anything else that only a wrong address would.
        """
        try:
            with map_errors(self.place):
                root = self._server.root or ""
                said = object_of(self.request("GET", None, root=root, deadline=deadline))
        except (DatabaseMissing, DocumentMissing):
            # The address is that of a database, as CouchDB sees it, or of something in one.
            return False
        except StoreError:
            return True
        return any(str(value).startswith("Welcome") for value in said.values())

    def create_database(self) -> bool:
        """
        Create the database. False if it is there already.
        """
        with map_errors(self.place):
            try:
                self.request("PUT", None)
            except PreconditionFailedError:
                return False
            return True

    def security(self) -> dict[str, Any]:
        """
        Return who may use the database.
        """
        with map_errors(self.place):
            return object_of(self.request("GET", "_security"))

    def put_security(self, security: dict[str, Any]) -> None:
        """
        Say who may use the database: the whole object, since CouchDB knows no change of a part.
        """
        with map_errors(self.place):
            self.request("PUT", "_security", body=security)


def _escape(doc_id: str) -> str:
    if doc_id.startswith("_design/"):
        return "_design/" + quote(doc_id.removeprefix("_design/"), safe="")
    return quote(doc_id, safe="")


def portions(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """
    Yield the items, so many at a time.
    """
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
