"""
A record as a CouchDB document, and back.
"""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from ...stamps import Stamp, whole
from ..record import Record

TYPE = "session"


class ForeignDocument(Exception):
    """
    Not a session's document, or one that lost its fields.
    """


def to_document(
    storage_id: str, record: Record, rev: str | None, *, as_json: bool
) -> dict[str, Any]:
    """
    Return the document of a record.

    rev: the revision that it replaces, None for a new one.
    as_json: the payload is a JSON object, whose fields become the document's own.
    """
    document: dict[str, Any] = {
        "_id": storage_id,
        "type": TYPE,
        "version": list(record.version),
        "user": record.user,
        "created_at": record.created_at,
        "updated_at": int(time.time()),
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
        return Record(
            Stamp.stored(generation, tag),
            whole(document["expires_at"]),
            whole(document["created_at"]),
            b"" if ended else _payload(document, as_json),
            user,
            ended,
            retain_until=whole(document.get("retain_until", 0)),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ForeignDocument from error


def _payload(document: dict[str, Any], as_json: bool) -> bytes:
    if as_json:
        payload = {"data": document["data"], "stamps": document["stamps"]}
        return json.dumps(payload, separators=(",", ":")).encode()
    return base64.b64decode(document["data"], validate=True)
