"""
Payloads in plain JSON.
"""

from __future__ import annotations

from itertools import starmap

from ..serializing import PortableJSONSerializer
from ..stamps import Stamp, Stamps, whole
from ..state import State
from .base import BadPayload, Codec


class JSONCodec(Codec):
    """
    Plain JSON, neither signed nor encrypted: for stores that nobody else can write to.

    In CouchDB the session dict itself stands under `data`, so that sessions can be queried.
    Always JSON, whatever `SESSION_SERIALIZER` says.
    """

    authenticated = False
    is_json = True
    is_tree = True

    def __init__(self) -> None:
        self.serializer = PortableJSONSerializer()

    def protect(self, context: bytes, content: bytes) -> bytes:
        return content

    def unprotect(self, context: bytes, payload: bytes) -> bytes:
        return payload

    def encode(self, context: bytes, state: State, data: bytes) -> bytes:
        """
        Return `{"data": the session dict, "stamps": …}`, with stamps by key and not by position:
        a server may reorder the keys of an object.
        """
        recent = state.stamps.recent
        used = [state.saved, *state.stamps.values(), *state.removed.values(), state.cleared]
        table = list(dict.fromkeys([*used, *recent]))
        rows = {stamp: row for row, stamp in enumerate(table)}
        stamps = {
            "created_at": state.created_at,
            "expires_at": state.expires_at,
            "merged": state.merged,
            "cleared": rows[state.cleared],
            "recent": [rows[stamp] for stamp in recent],
            "unseen": [rows[stamp] for stamp in state.unseen],
            "table": table,
            "keys": {key: rows[stamp] for key, stamp in state.stamps.items()},
            "removed": {key: rows[stamp] for key, stamp in state.removed.items()},
        }
        return b'{"data":%b,"stamps":%b}' % (data, self.dumps(stamps))

    def decode(self, context: bytes, payload: bytes, version: Stamp) -> tuple[State, bytes]:
        """
        Undo `encode`. A key without a stamp, added by other means, counts as written by the last
        save.

        The payload is not bound to `version`: the stamp in the document is taken instead.
        """
        try:
            document = self.loads(payload)
            values, stamps = document["data"], document["stamps"]
            if not isinstance(values, dict):
                raise BadPayload("The session is not a dict.")
            table, rows = list(starmap(Stamp.stored, stamps["table"])), stamps["keys"]
            last = len(table) - 1
            known = {key: table[whole(rows.get(key, 0), last)] for key in values}
            recent = [table[whole(row, last)] for row in stamps.get("recent", ())]
            state = State(
                values,
                Stamps.of(table[0], known, recent),
                whole(stamps["created_at"]),
                whole(stamps["expires_at"]),
                table[0],
                {
                    key: table[whole(row, last)]
                    for key, row in stamps["removed"].items()
                    if key not in values
                },
                table[whole(stamps["cleared"], last)],
                # Keys other than those that the save wrote must not have its version.
                merged=stamps.get("merged", False) is not False or values.keys() != rows.keys(),
                unseen=tuple([table[whole(row, last)] for row in stamps.get("unseen", ())]),
            )
            return state, self.dumps(values)
        except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise BadPayload("The payload cannot be read.") from error
