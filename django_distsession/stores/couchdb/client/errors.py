"""
What CouchDB, its client and the network say, as the few errors that the store acts upon.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
from couchdb3.exceptions import (
    BadRequestError,
    ConflictError,
    CouchDBError,
    ForbiddenError,
    MethodNotAllowedError,
    NotFoundError,
    PreconditionFailedError,
    RequestEntityTooLargeError,
    UnauthorizedError,
)

from ....exceptions import RecordTooLarge, StoreError, StoreMisconfigured, StoreUnavailable
from ..http.connection import FAILURES, AnswerTooLarge
from ..http.node import NOT_FIT
from ..http.transport import dump

REDIRECTS = range(300, 400)
# What is not implemented; a URL, or a head, that is too long.
REFUSALS = (501, 414, 431)


class DocumentMissing(StoreError):
    """
    The database has no such document.
    """


class DatabaseMissing(StoreError):
    """
    The server has no such database.
    """


class DesignMissing(StoreError):
    """
    The database has no such design document, or it lacks the view.
    """


class DesignReplaced(StoreUnavailable):
    """
    The design document was replaced while its view was read. The next reading uses the new one.
    """


class RevisionConflict(StoreError):
    """
    The document has another revision by now.
    """


class RequestFailed(StoreUnavailable):
    """
    The server answered, and failed at this request. At others it need not: what it was asked for
    may be one document that it cannot store or show.
    """


class IndexBehind(RequestFailed):
    """
    The server gave up waiting for an index, which it goes on building.
    """


class RequestRefused(RequestFailed):
    """
    The server does not take such a request: something that it cannot do.
    """


class AlreadyThere(RequestFailed):
    """
    There is a database of this name already.
    """


class AnswerUnexpected(StoreUnavailable):
    """
    The answer is none that CouchDB gives to such a request.
    """


class AnswerMismatch(Exception):
    """
    An answer that no CouchDB gives to what it was asked: a gateway's, or one to another request.
    """


class LoginRefused(StoreMisconfigured):
    """
    The server does not know this user, or not by this password, or not any longer.
    """


class RightMissing(StoreMisconfigured):
    """
    The server knows the user, who may not do this.
    """


# After 60 seconds ([fabric] request_timeout).
INDEX_BEHIND = "timeout: The request could not be processed in a reasonable amount of time"

# What `map_error` knows.
SERVER_ERRORS = (
    *FAILURES,
    CouchDBError,
    httpx.HTTPError,
    httpx.InvalidURL,
    AnswerTooLarge,
    AnswerMismatch,
    RecursionError,
    ValueError,
    KeyError,
    TypeError,
)


def map_error(error: Exception, place: str, body: Any, *, may_conflict: bool) -> StoreError:
    """
    Return whatever came of one request as an error of ours, none of which tells a password, a
    session's contents or its id.

    place: the database's address, without credentials. body: what was sent.
    may_conflict: whether the request names a revision that others may have replaced.
    """
    match error:
        case NotFoundError():
            return _not_found(place, error)
        case ConflictError() if may_conflict:
            return RevisionConflict("The document has another revision.")
        case RequestEntityTooLargeError():
            return RecordTooLarge(len(dump(body)), None, f"CouchDB at {place}")
        case UnauthorizedError():
            return LoginRefused(
                f"CouchDB at {place} does not let us in ({reason(error)}). Check user and password "
                'in DISTSESSION["COUCHDB"]["URL"] and ["ADMIN_URL"].'
            )
        case ForbiddenError():
            return RightMissing(
                f"CouchDB at {place} refuses the request ({reason(error)}). The user of "
                'DISTSESSION["COUCHDB"]["URL"] has to be a member of the database: let a server '
                "admin name it in the database's _security, under members. What needs an admin "
                "uses ADMIN_URL."
            )
        case BadRequestError() | MethodNotAllowedError():
            return RequestRefused(f"CouchDB at {place} refuses a request ({reason(error)}).")
        case PreconditionFailedError():
            return AlreadyThere(_unusable(place, reason(error)))
        case CouchDBError() if reason(error) == INDEX_BEHIND:
            return IndexBehind(_unusable(place, reason(error)))
        case CouchDBError():
            # Such as a 500. A document that CouchDB's own JSON cannot hold is answered so, too.
            return RequestFailed(_unusable(place, reason(error)))
        case httpx.HTTPStatusError():
            return _by_status(place, error)
    return _without_status(place, error)


def _without_status(place: str, error: Exception) -> StoreError:
    match error:
        case AnswerTooLarge():
            return RequestFailed(_unusable(place, str(error)))
        case RecursionError():
            return RequestFailed(_unusable(place, "JSON that is nested too deeply"))
        case AnswerMismatch():
            return AnswerUnexpected(_unusable(place, str(error)))
    if isinstance(error, (*FAILURES, httpx.HTTPError, httpx.InvalidURL)):
        return StoreUnavailable(_unusable(place, type(error).__name__))
    return AnswerUnexpected(_unusable(place, "not the JSON that CouchDB sends"))


def _by_status(place: str, error: httpx.HTTPStatusError) -> StoreUnavailable:
    status = error.response.status_code
    if status in REFUSALS:
        return RequestRefused(f"CouchDB at {place} refuses a request ({error}).")
    if status in REDIRECTS:
        return StoreUnavailable(
            _unusable(place, f"{error}, a redirect; URL has to name CouchDB itself")
        )
    kind = RequestFailed if status >= 500 and status not in NOT_FIT else StoreUnavailable
    return kind(_unusable(place, str(error)))


def _unusable(place: str, said: str) -> str:
    return f"CouchDB at {place} gives no usable answer ({said})."


def reason(error: Exception) -> str:
    """
    Return what CouchDB gave as its reason, without a full stop. It holds neither a document's
    contents nor credentials.
    """
    try:
        body = json.loads(str(error))
        return f"{body['error']}: {body['reason']}"[:200].rstrip(".")
    except (ValueError, KeyError, TypeError, RecursionError):
        return type(error).__name__


def _not_found(place: str, error: NotFoundError) -> StoreError:
    # Only CouchDB's own words count. A proxy's 404 must neither end a session nor set anything up.
    said = reason(error)
    if said == "not_found: Design document was updated or deleted":
        return DesignReplaced(f"CouchDB at {place}: {said}")
    if said in ("not_found: missing", "not_found: deleted"):
        return DocumentMissing(said)
    if said in ("not_found: Database does not exist", "not_found: no_db_file"):
        return DatabaseMissing(said)
    if said.startswith(("not_found: missing", "not_found: ddoc ")):
        # "missing_named_view", "missing json key ...", "ddoc ... has no view named ..."
        return DocumentMissing(said)
    return StoreUnavailable(_unusable(place, said))
