"""
couchdb3 with its traps mended: time-outs that hold, ids that are escaped, keys that are JSON,
logins that are renewed, and a handful of errors.

Nothing else in the package calls couchdb3. Every method raises `StoreUnavailable` (no answer, or
not one to work with), `StoreMisconfigured` (the server refuses us), `RecordTooLarge`, or one of
the outcomes in `errors`, which callers act upon.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import httpx
from couchdb3.exceptions import PreconditionFailedError, UnauthorizedError
from couchdb3.sync import Database, Server

from ...secret import without_frames
from .answers import document_of, leaves_of, list_of, object_of, rev_of, rows_of
from .errors import (
    DatabaseMissing,
    DesignMissing,
    DesignReplaced,
    DocumentMissing,
    LoginRefused,
    RequestFailed,
    RequestRefused,
    RevisionConflict,
    RightMissing,
    translated,
)
from .node import COOKIE
from .transport import HTTPSession

__all__ = [
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

VIEW_KEYS = frozenset({"key", "keys", "startkey", "endkey"})

# Seconds for a view, whose index may have to catch up first. Commands wait; requests never ask.
VIEW_TIMEOUT = 600.0
# How many revisions are named in one URL: CouchDB takes 8 KB.
REVS_IN_URL = 40
# How often a view is read whose design document is being replaced.
MAX_TRIES = 5

T = TypeVar("T")


class Stored(NamedTuple):
    """
    rev: the revision that a write made.
    certain: whether a quorum of the cluster took it (201); if not (202), it may be one branch of
        several.
    """

    rev: str
    certain: bool


class Client:
    """
    One database on one server or cluster.
    """

    def __init__(self, server: Server, database: str) -> None:
        self.name = database
        self._server = server
        has_credentials = bool(server._user and server._password)
        self._renews_cookie = server.auth_method == "cookie" and has_credentials
        self._login = threading.Lock()
        self._database = Database(
            database,
            url="http://localhost",
            # Without credentials couchdb3 would log in as null.
            auth_method=server.auth_method if has_credentials else "basic",
            session=server.session,
            timeout=server.timeout,
        )
        # Not as arguments, which a report of an error would show.
        for attribute in ("scheme", "host", "port", "_user", "_password", "_auth"):
            setattr(self._database, attribute, getattr(server, attribute))
        if ":" in str(server.host) and not str(server.host).startswith("["):
            self._database.host = f"[{server.host}]"
        quoted = quote(database, safe="")
        self._database.root = f"{server.root}/{quoted}" if server.root else quoted
        if not has_credentials and isinstance(server.session, httpx.Client):
            # couchdb3 would switch off the authentication that the session brings.
            self._database._auth = httpx.USE_CLIENT_DEFAULT
        if isinstance(server.session, HTTPSession):
            self.place = f"{server.session.nodes[0].name}/{quoted}"
        else:
            self.place = str(self._database.url)

    def get(self, doc_id: str, **query: Any) -> dict[str, Any]:
        """
        Return a document.
        """
        with translated(self.place):
            return document_of(self._request("GET", _escape(doc_id), query=query), doc_id)

    def get_unless(self, doc_id: str, rev: str) -> dict[str, Any] | None:
        """
        Return a document, or None if its winning revision is still `rev`.
        """
        with translated(self.place):
            reply = self._request("GET", _escape(doc_id), headers={"If-None-Match": f'"{rev}"'})
            return None if reply.status_code == 304 else document_of(reply, doc_id)

    def leaves(self, doc_id: str, revs: Sequence[str]) -> Iterator[dict[str, Any]]:
        """
        Yield those of a document's revisions that are there and not deleted.

        They are named in a URL, which may be only so long: so a portion at a time.
        """
        for portion in portions(revs, REVS_IN_URL):
            with translated(self.place):
                reply = self._request(
                    "GET", _escape(doc_id), query={"open_revs": json.dumps(portion)}
                )
                found = leaves_of(reply, doc_id, portion)
            yield from found

    def put(self, document: dict[str, Any]) -> Stored:
        """
        Store a document by the revision under `_rev`, or as a new one.
        """
        with translated(self.place, document, may_conflict=True):
            reply = self._request("PUT", _escape(document["_id"]), body=document)
            return Stored(rev_of(reply, document["_id"]), reply.status_code != 202)

    def view(self, design: str, view: str, **query: Any) -> list[dict[str, Any]]:
        """
        Return the rows of a view. Keys in `query` are Python values.
        """
        encoded = {
            name: json.dumps(value) if name in VIEW_KEYS else value for name, value in query.items()
        }
        path = f"_design/{quote(design, safe='')}/_view/{quote(view, safe='')}"
        for left in reversed(range(MAX_TRIES)):
            try:
                with translated(self.place):
                    return self._rows(
                        self._request("GET", path, query=encoded, timeout=VIEW_TIMEOUT)
                    )
            except DesignReplaced:
                if not left:
                    raise
            except DocumentMissing as error:
                raise DesignMissing(f"{design}/{view}: {error}") from error
        raise AssertionError

    def _rows(self, reply: Any) -> list[dict[str, Any]]:
        try:
            return rows_of(reply)
        except ValueError as error:
            # What CouchDB has sent of an answer by the time of an error, it cannot take back.
            raise DesignReplaced(f"An answer of CouchDB at {self.place} broke off.") from error

    def purge(self, revisions: dict[str, list[str]]) -> dict[str, list[str]]:
        """
        Remove revisions for good. Returns those that were removed.
        """
        with translated(self.place):
            reply = self._request("POST", "_purge", body=revisions, timeout=VIEW_TIMEOUT)
            return dict(object_of(reply)["purged"])

    def bulk_docs(
        self, documents: list[dict[str, Any]], *, new_edits: bool = True
    ) -> list[dict[str, Any]]:
        """
        Store many documents at once. Each answer has either `rev` or `error`.

        new_edits: if False, the revisions are taken as they are, as replication does it.
        """
        body: dict[str, Any] = {"docs": documents}
        if not new_edits:
            body["new_edits"] = False
        with translated(self.place):
            return list_of(self._request("POST", "_bulk_docs", body=body))

    def delete(self, doc_id: str, rev: str) -> None:
        """
        Delete a document by its revision.
        """
        with translated(self.place, may_conflict=True):
            self._request("DELETE", _escape(doc_id), query={"rev": rev})

    def copy(self, doc_id: str, rev: str, to: str, over: str | None) -> None:
        """
        Copy one revision of a document to another id, over the revision `over`, if there is one.
        """
        destination = _escape(to) + (f"?rev={over}" if over else "")
        with translated(self.place, may_conflict=True):
            self._request(
                "COPY", _escape(doc_id), query={"rev": rev}, headers={"Destination": destination}
            )

    def design_documents(self) -> list[dict[str, Any]]:
        """
        Return all design documents.
        """
        query = {"startkey": '"_design/"', "endkey": '"_design0"', "include_docs": True}
        with translated(self.place):
            rows = rows_of(self._request("GET", "_all_docs", query=query))
            return [row["doc"] for row in rows]

    def view_info(self, design: str) -> dict[str, Any]:
        """
        Return the state of a design document's index.
        """
        try:
            with translated(self.place):
                return object_of(self._request("GET", f"_design/{quote(design, safe='')}/_info"))
        except DocumentMissing as error:
            raise DesignMissing(f"{design}: {error}") from error

    def view_cleanup(self) -> None:
        """
        Remove the indexes that no design document has any longer.
        """
        with translated(self.place):
            self._request("POST", "_view_cleanup", body={}, timeout=VIEW_TIMEOUT)

    def active_tasks(self) -> list[dict[str, Any]]:
        """
        Return what the server is doing in the background, for all databases.
        """
        with translated(self.place):
            root = self._server.root or ""
            return list_of(self._request("GET", "_active_tasks", root=root))

    def info(self) -> dict[str, Any]:
        """
        Return the counts and sizes of the database.
        """
        with translated(self.place):
            return object_of(self._request("GET", None))

    def create_database(self) -> bool:
        """
        Create the database. False if it is there already.
        """
        with translated(self.place):
            try:
                self._request("PUT", None)
            except PreconditionFailedError:
                return False
            return True

    def security(self) -> dict[str, Any]:
        """
        Return who may use the database.
        """
        with translated(self.place):
            return object_of(self._request("GET", "_security"))

    def put_security(self, security: dict[str, Any]) -> None:
        """
        Say who may use the database: the whole object, since CouchDB knows no change of a part.
        """
        with translated(self.place):
            self._request("PUT", "_security", body=security)

    def status(self) -> list[dict[str, Any]]:
        """
        Tell how each node is doing, as this process sees it; nothing of a client of one's own.
        """
        if not isinstance(self._server.session, HTTPSession):
            return []
        return [
            {"store": "couchdb", "server": node.name, **asdict(node.health.status())}
            for node in self._server.session.nodes
        ]

    def close(self) -> None:
        """
        Close all connections, unless somebody else made them.
        """
        if isinstance(self._server.session, HTTPSession):
            self._server.session.close()

    def _request(
        self,
        method: str,
        resource: str | None,
        *,
        body: Any = None,
        query: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
        root: str | None = None,
    ) -> Any:
        def ask() -> Any:
            # The time-out has to be given with each request: couchdb3's GET and DELETE ignore the
            # one it was constructed with.
            call = partial(
                self._database._request,
                method=method,
                resource=resource,
                body=body,
                query_kwargs=query,
                timeout=timeout or self._server.timeout,
                root=root,
                **({"headers": headers} if headers else {}),
            )
            # Where couchdb3 or httpx logs in, user and password stand in their variables.
            ours = isinstance(self._server.session, HTTPSession)
            return call() if ours else without_frames(call)

        if not self._renews_cookie:
            return ask()
        cookie = self._cookie()
        try:
            return ask()
        except UnauthorizedError:
            self._log_in_again(cookie)
            return ask()

    def _cookie(self) -> str | None:
        cookies = self._server.session.cookies.jar
        return next((cookie.value for cookie in cookies if cookie.name == COOKIE), None)

    def _log_in_again(self, expired: str | None) -> None:
        with self._login:
            # Unless another thread was faster.
            if self._cookie() == expired:
                self._server.session.cookies.clear()
                without_frames(self._database._renew_auth_token)


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
