"""
A record as a CouchDB document, and back.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from ...stamps import LARGEST, Stamp, whole
from ..record import Record

TYPE = "session"


class ForeignDocument(Exception):
    """
    Not a session's document, or one that lost its fields.
    """


def to_document(
    storage_id: str, record: Record, rev: str | None, now: int, *, as_json: bool
) -> dict[str, Any]:
    """
    Return the document of a record.

    rev: the revision that it replaces, None for a new one. now: seconds since the epoch.
    as_json: the payload is a JSON object, whose fields become the document's own.
    """
    document: dict[str, Any] = {
        "_id": storage_id,
        "type": TYPE,
        "version": list(record.version),
        "user": record.user,
        "created_at": record.created_at,
        "updated_at": now,
        "expires_at": record.expires_at,
        "ended": record.ended,
    }
    if rev:
        document["_rev"] = rev
    if record.retain_until:
        document["retain_until"] = record.retain_until
    if record.ended:
        document["data"] = None
    elif as_json:
        document |= json.loads(record.payload)
    else:
        document["data"] = base64.b64encode(record.payload).decode()
    return document


def to_record(document: dict[str, Any], *, as_json: bool) -> Record:
    """
    Undo `to_document`. `ForeignDocument` if that is not possible.
    """
    try:
        ended, user = document["ended"], document["user"]
        is_ours = document["type"] == TYPE and type(ended) is bool
        if not is_ours or not (user is None or type(user) is str):
            raise ForeignDocument
        generation, tag = document["version"]
        times = (document["expires_at"], document["created_at"], document.get("retain_until", 0))
        if set(map(type, times)) != {int} or min(times) < 0 or max(times) > LARGEST:
            times = whole(times[0]), whole(times[1]), whole(times[2])
        if ended:
            payload = b""
        elif as_json:
            payload = _dumped({"data": document["data"], "stamps": document["stamps"]})
        else:
            payload = base64.b64decode(document["data"], validate=True)
        expires_at, created_at, retain_until = times
        return Record(
            Stamp.stored(generation, tag),
            expires_at,
            created_at,
            payload,
            user,
            ended,
            retain_until=retain_until,
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ForeignDocument from error


def _dumped(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload, separators=(",", ":")).encode()
