"""
What CouchDB answers, looked at before anybody believes it.

Something in between may answer in CouchDB's place, or mix answers up. Taken for a document, such an
answer would end a session or hand somebody another one's. All raise `AnswerMismatch`, or what
`errors.map_errors` takes for something else than CouchDB's JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from ....stamps import whole
from .errors import AnswerMismatch


class Stored(NamedTuple):
    """
    rev: the revision that a write made.
    quorum_reached: whether a quorum of the cluster took it (201); if not (202), it may be one
        branch of several.
    """

    rev: str
    quorum_reached: bool


def document_of(doc_id: str, reply: Any) -> dict[str, Any]:
    """
    Return the document that was asked for.
    """
    return _checked(doc_id, json.loads(reply.content))


def leaves_of(doc_id: str, revs: Sequence[str], reply: Any) -> list[dict[str, Any]]:
    """
    Return those of the revisions that were asked for that are there and not deleted.
    """
    found, told = [], set()
    for entry in list_of(reply):
        if "ok" in entry:
            leaf = _checked(doc_id, entry["ok"])
            told.add(leaf["_rev"])
            if not leaf.get("_deleted"):
                found.append(leaf)
        else:
            told.add(entry["missing"])
    if not told.issuperset(revs):
        raise AnswerMismatch("not all revisions that it was asked for")
    return found


def stored_of(doc_id: str, reply: Any) -> Stored:
    answer = json.loads(reply.content)
    rev = answer["rev"]
    if not isinstance(rev, str) or answer.get("id", doc_id) != doc_id:
        raise AnswerMismatch("something else than what a write is answered")
    return Stored(rev, reply.status_code != 202)


def rows_of(reply: Any) -> list[dict[str, Any]]:
    """
    Return the rows of a view, each with the document that it is of.
    """
    rows = groups_of(reply)
    if not all(isinstance(row["id"], str) for row in rows):
        raise AnswerMismatch("something else than the rows of a view")
    return rows


def groups_of(reply: Any) -> list[dict[str, Any]]:
    """
    Return the rows to which a view was reduced, which are of no one document.
    """
    rows = _objects(object_of(reply)["rows"])
    if not all({"key", "value"} <= row.keys() for row in rows):
        raise AnswerMismatch("something else than the rows of a view")
    return rows


def count_of(reply: Any) -> int:
    """
    Return the one number that a view was reduced to; 0 for none.
    """
    rows = groups_of(reply)
    return whole(rows[0]["value"]) if rows else 0


def documents_of(reply: Any) -> list[dict[str, Any]]:
    """
    Return the documents in the rows of a view. Some may have been deleted meanwhile.
    """
    rows = rows_of(reply)
    return [_checked(row["id"], row["doc"]) for row in rows if row["doc"] is not None]


def object_of(reply: Any) -> dict[str, Any]:
    body = json.loads(reply.content)
    if not isinstance(body, dict):
        raise TypeError("not a JSON object")
    return body


def nothing_of(reply: Any) -> None:
    """
    For a response that tells nothing but that it is no error.
    """


def list_of(reply: Any) -> list[dict[str, Any]]:
    return _objects(json.loads(reply.content))


def is_whole(value: Any) -> bool:
    """
    Whether a value out of a document is a time as sessions have it, in whole seconds.
    """
    try:
        whole(value)
    except ValueError:
        return False
    return True


def _objects(found: Any) -> list[dict[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise TypeError("not a JSON array of objects")
    return found


def _checked(doc_id: str, document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise TypeError("not a JSON object")
    if (
        document.get("_id") != doc_id
        or not isinstance(document.get("_rev"), str)
        or not isinstance(conflicts := document.get("_conflicts", []), list)
        or (conflicts and not all(isinstance(rev, str) for rev in conflicts))
    ):
        raise AnswerMismatch("something else than the document that it was asked for")
    return document
