"""
couchdb3 with its traps mended: time-outs that hold, ids that are escaped, and three errors.

Nothing else in the package calls couchdb3. Every method raises `StoreUnavailable` (no answer, or
not one to work with), `StoreMisconfigured` (the server refuses us), `RecordTooLarge`, or one of
the outcomes below, which callers act upon.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpcore
import httpx
from couchdb3.exceptions import (
    BadRequestError,
    ConflictError,
    CouchDBError,
    ForbiddenError,
    NotFoundError,
    PreconditionFailedError,
    RequestEntityTooLargeError,
    UnauthorizedError,
)
from couchdb3.sync import Database, Server

from ...exceptions import RecordTooLarge, StoreError, StoreMisconfigured, StoreUnavailable
from .transport import HTTPSession, dump


class DocumentMissing(StoreError):
    """
    The database has no such document.
    """


class DatabaseMissing(StoreError):
    """
    The server has no such database.
    """


class RevisionConflict(StoreError):
    """
    The document has another revision by now.
    """


class RequestRefused(StoreError):
    """
    The server does not take such a request: something that it cannot do.
    """


def connect(url: str, *, timeout: float, pool_size: int) -> Server:
    """
    Return a couchdb3 server for a URL that may hold credentials, an IPv6 address and a path.
    """
    parts = urlsplit(url)
    credentials = None
    if parts.username:
        credentials = (unquote(parts.username), unquote(parts.password or ""))
    session = HTTPSession(timeout=timeout, pool_size=pool_size, credentials=credentials)
    server = Server(
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        auth_method="basic",
        session=session,
        timeout=timeout,
    )
    if ":" in server.host:
        server.host = f"[{server.host}]"
    server.root = parts.path.strip("/") or None
    return server


class Client:
    """
    One database on one server.
    """

    def __init__(self, server: Server, database: str) -> None:
        self.name = database
        self._server = server
        self._database = Database(
            database,
            url="http://localhost",
            auth_method=server.auth_method,
            session=server.session,
            user=server._user,
            password=server._password,
            timeout=server.timeout,
        )
        for attribute in ("scheme", "host", "port"):
            setattr(self._database, attribute, getattr(server, attribute))
        quoted = quote(database, safe="")
        self._database.root = f"{server.root}/{quoted}" if server.root else quoted

    @property
    def place(self) -> str:
        """
        The database's address, without credentials.
        """
        return str(self._database.url)

    def get(self, doc_id: str, **query: Any) -> dict[str, Any]:
        """
        Return a document.
        """
        with self._errors():
            return _object(self._request("GET", _escape(doc_id), query=query))

    def put(self, document: dict[str, Any]) -> str:
        """
        Store a document by the revision under `_rev`, or as a new one. Returns its new revision.
        """
        with self._errors(document):
            reply = self._request("PUT", _escape(document["_id"]), body=document)
            return str(_object(reply)["rev"])

    def view(self, design: str, view: str, **query: Any) -> list[dict[str, Any]]:
        """
        Return the rows of a view. Keys in `query` are Python values.
        """
        encoded = {
            name: json.dumps(value) if name in VIEW_KEYS else value for name, value in query.items()
        }
        with self._errors():
            reply = self._request("GET", f"_design/{design}/_view/{view}", query=encoded)
            return list(_object(reply)["rows"])

    def purge(self, revisions: dict[str, list[str]]) -> dict[str, list[str]]:
        """
        Remove revisions for good. Returns those that were removed.
        """
        with self._errors():
            return dict(_object(self._request("POST", "_purge", body=revisions))["purged"])

    def bulk_docs(self, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """
        Store many documents at once. Each answer has either `rev` or `error`.
        """
        with self._errors():
            return list(self._request("POST", "_bulk_docs", body={"docs": documents}).json())

    def create_database(self) -> None:
        """
        Create the database; no error if it is there already.
        """
        with self._errors():
            try:
                self._request("PUT", None)
            except PreconditionFailedError:
                return

    def put_security(self, security: dict[str, Any]) -> None:
        """
        Say who may use the database.
        """
        with self._errors():
            self._request("PUT", "_security", body=security)

    def close(self) -> None:
        """
        Close all connections.
        """
        self._server.session.close()

    def _request(
        self, method: str, resource: str | None, *, body: Any = None, query: Any = None
    ) -> Any:
        # The time-out has to be given with each request: couchdb3's GET and DELETE ignore the
        # one it was constructed with.
        return self._database._request(
            method=method,
            resource=resource,
            body=body,
            query_kwargs=query,
            timeout=self._server.timeout,
        )

    @contextmanager
    def _errors(self, document: dict[str, Any] | None = None) -> Iterator[None]:
        try:
            yield
        except NotFoundError as error:
            raise _missing(error) from error
        except ConflictError as error:
            raise RevisionConflict("The document has another revision.") from error
        except RequestEntityTooLargeError as error:
            raise RecordTooLarge(len(dump(document)), None, f"CouchDB at {self.place}") from error
        except (UnauthorizedError, ForbiddenError) as error:
            raise StoreMisconfigured(
                f"CouchDB at {self.place} refuses the request ({_reason(error)}). Check user and "
                'password in DISTSESSION["COUCHDB"]["URL"] and the members in the database\'s '
                "_security; what needs an admin uses ADMIN_URL."
            ) from None
        except BadRequestError as error:
            raise RequestRefused(_reason(error)) from error
        except httpx.HTTPStatusError as error:
            if error.response.status_code in (405, 501):
                raise RequestRefused(str(error)) from error
            raise self._unavailable(error) from error
        except (
            CouchDBError,
            httpx.HTTPError,
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
            OSError,
            ValueError,
            KeyError,
            TypeError,
        ) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        said = _reason(error) if isinstance(error, CouchDBError) else type(error).__name__
        if isinstance(error, httpx.HTTPStatusError):
            said = str(error)
        return StoreUnavailable(f"CouchDB at {self.place} gives no usable answer ({said}).")


VIEW_KEYS = frozenset({"key", "keys", "startkey", "endkey"})


def _escape(doc_id: str) -> str:
    if doc_id.startswith("_design/"):
        return "_design/" + quote(doc_id.removeprefix("_design/"), safe="")
    return quote(doc_id, safe="")


def _object(reply: Any) -> dict[str, Any]:
    body = reply.json()
    if not isinstance(body, dict):
        raise ValueError("not a JSON object")
    return body


def _reason(error: Exception) -> str:
    """
    Return what CouchDB gave as its reason. It never holds document contents or credentials.
    """
    try:
        body = json.loads(str(error))
        return f"{body['error']}: {body['reason']}"
    except (ValueError, KeyError, TypeError):
        return type(error).__name__


def _missing(error: NotFoundError) -> StoreError:
    # CouchDB tells apart what was never there ("missing") and what was ("deleted"); for anything
    # else that is not found, it is the database that is missing.
    reason = _reason(error)
    if reason.endswith((": missing", ": deleted")):
        return DocumentMissing(reason)
    return DatabaseMissing(reason)
