"""
What we ask CouchDB.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from ....exceptions import StoreError
from ...deadline import Deadline
from .answers import (
    Stored,
    document_of,
    documents_of,
    leaves_of,
    list_of,
    nothing_of,
    object_of,
    stored_of,
)
from .errors import AlreadyThere, DatabaseMissing, DocumentMissing
from .views import ViewReader

# How many revisions are named in one URL: CouchDB takes 8 KB.
REVS_IN_URL = 40
# Whose rows are no more than the design documents.
DESIGN_DOCUMENTS = {"startkey": '"_design/"', "endkey": '"_design0"', "include_docs": True}
WITH_CONFLICTS = {"conflicts": True}

T = TypeVar("T")


class Client(ViewReader):
    """
    Where a method takes a deadline, it is that of the operation of the store which the request is a
    part of; without one, the request is one.
    """

    def get(
        self, doc_id: str, deadline: Deadline | None = None, conflicts: bool = False
    ) -> dict[str, Any]:
        """
        Return a document.

        conflicts: whether to tell the losing revisions, too.
        """
        return self.request(
            "GET",
            _escape(doc_id),
            partial(document_of, doc_id),
            query=WITH_CONFLICTS if conflicts else None,
            deadline=deadline,
        )

    def get_unless(
        self, doc_id: str, rev: str, deadline: Deadline | None = None
    ) -> dict[str, Any] | None:
        """
        Return a document, or None if its winning revision is still `rev`.
        """

        def read(reply: Any) -> dict[str, Any] | None:
            return None if reply.status_code == 304 else document_of(doc_id, reply)

        headers = {"If-None-Match": f'"{rev}"'}
        return self.request("GET", _escape(doc_id), read, headers=headers, deadline=deadline)

    def leaves(
        self, doc_id: str, revs: Sequence[str], deadline: Deadline | None = None
    ) -> list[dict[str, Any]]:
        """
        Return those of a document's revisions that are there and not deleted.

        They are named in a URL, which may be only so long: so a portion at a time.
        """
        found = []
        for portion in portions(revs, REVS_IN_URL):
            found += self.request(
                "GET",
                _escape(doc_id),
                partial(leaves_of, doc_id, portion),
                query={"open_revs": json.dumps(portion)},
                deadline=deadline,
            )
        return found

    def put(self, document: dict[str, Any], deadline: Deadline | None = None) -> Stored:
        """
        Store a document by the revision under `_rev`, or as a new one.
        """
        doc_id = document["_id"]
        return self.request(
            "PUT",
            _escape(doc_id),
            partial(stored_of, doc_id),
            body=document,
            deadline=deadline,
            may_conflict=True,
        )

    def purge(self, revisions: dict[str, list[str]]) -> dict[str, list[str]]:
        """
        Remove revisions for good. Returns those that were removed.
        """

        def read(reply: Any) -> dict[str, list[str]]:
            return dict(object_of(reply)["purged"])

        return self.request("POST", "_purge", read, body=revisions, patient=True)

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
        return self.request(
            "POST", "_bulk_docs", list_of, body=body, deadline=deadline, patient=patient
        )

    def delete(self, doc_id: str, rev: str) -> None:
        self.request("DELETE", _escape(doc_id), nothing_of, query={"rev": rev}, may_conflict=True)

    def copy(self, doc_id: str, rev: str, to: str, over: str | None) -> None:
        """
        Copy one revision of a document to another id, over the revision `over`, if there is one.
        """
        self.request(
            "COPY",
            _escape(doc_id),
            nothing_of,
            query={"rev": rev},
            headers={"Destination": _escape(to) + (f"?rev={over}" if over else "")},
            may_conflict=True,
        )

    def design_documents(self) -> list[dict[str, Any]]:
        return self.request("GET", "_all_docs", documents_of, query=DESIGN_DOCUMENTS)

    def active_tasks(self) -> list[dict[str, Any]]:
        """
        Return what the server is doing in the background, for all databases.
        """
        return self.request("GET", "_active_tasks", list_of, root=self._server.root or "")

    def info(self) -> dict[str, Any]:
        """
        Return the counts and sizes of the database.
        """
        return self.request("GET", None, object_of)

    def is_welcome(self, deadline: Deadline | None = None) -> bool:
        """
        Whether the server's address is that of a CouchDB, which says "Welcome" there.

        True if it says neither that nor anything else that only a wrong address would.
        """
        try:
            root = self._server.root or ""
            said = self.request("GET", None, object_of, root=root, deadline=deadline)
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
        try:
            self.request("PUT", None, nothing_of)
        except AlreadyThere:
            return False
        return True

    def security(self) -> dict[str, Any]:
        return self.request("GET", "_security", object_of)

    def put_security(self, security: dict[str, Any]) -> None:
        """
        Say who may use the database: the whole object, since CouchDB knows no change of a part.
        """
        self.request("PUT", "_security", nothing_of, body=security)


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
