"""
States and records: encoding one into the other, and merging records of one session.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from django.contrib.auth import SESSION_KEY as USER_KEY

from .. import canonical, suspicious
from ..codecs import BadPayload, Codec
from ..exceptions import UnreadableCopy
from ..observing import CopiesMerged, RecordRefused, Tell
from ..stamps import Stamp
from ..state import State, merge_all
from ..stores.record import Record

# What payloads are protected as, beside their codec's name: no other use of a key, and no other
# layout, makes one of these.
FORMAT = b"django-distsession session 1"

# The lengths of what follows them, so that no other parts make the same bytes.
SIZES = struct.Struct("!3Q")

# A store may know that a session lives longer than the clock of this process makes of it, by so
# many seconds at most.
CLOCK_SKEW = 3600


class Records:
    """
    Turns states into records and back, with one codec. tell, name: for reports, and what the store
    is called there.
    """

    def __init__(self, codec: Codec, tell: Tell | None = None, name: str = "") -> None:
        self.codec = codec
        self._tell = tell
        self._name = name
        kind = type(codec)
        name = f"{kind.__module__}.{kind.__qualname__}"
        self._protected_as = canonical.encode(FORMAT, name.encode())

    def encode(self, storage_id: str, state: State, data: bytes) -> Record:
        """
        Return the record of a state whose values are serialised in `data`.
        """
        version = state.version
        user = state.values.get(USER_KEY)
        return Record(
            version,
            state.expires_at,
            state.created_at,
            self.codec.encode(self._context(storage_id, version), state, data),
            None if user is None else str(user),
        )

    def decode(self, storage_id: str, record: Record) -> tuple[State, bytes] | None:
        """
        Return the state in a live record, and its values as they are serialised; None, reported,
        if that cannot be read.
        """
        version = record.version
        context = self._context(storage_id, version)
        try:
            return self.codec.decode(context, record.payload, version)
        except BadPayload as error:
            failure = error
        try:
            self.codec.decode(context, record.payload, version)
        except BadPayload:
            suspicious.report("A session that was altered or belongs elsewhere", "the store")
            if self._tell:
                self._tell(RecordRefused(self._name, "altered"))
            return None
        # Nothing was wrong with it: something interrupted the first try, such as a soft time limit.
        raise failure.__cause__ or failure

    def merge(self, storage_id: str, records: Sequence[Record]) -> Record | None:
        """
        Return the record of the merge of several live records; the stores are given this.

        None if not one can be read: then there is no session, though nothing is written over it.
        `UnreadableCopy` if one cannot be read that another process has written since. What is older
        and cannot be read is left out: whoever wrote the newer one has seen it, or it is damaged.
        """
        decoded = [(record, self.decode(storage_id, record)) for record in records]
        readable = [(record, one[0]) for record, one in decoded if one is not None]
        if not readable:
            return None
        newest = max(record.version for record, _ in readable)
        if any(
            one is None
            and record.version.generation >= newest.generation
            # Else it is only damaged: another copy of the same is not.
            and all(record.version != other.version for other, _ in readable)
            for record, one in decoded
        ):
            raise UnreadableCopy
        merged = merge_all([state for _, state in readable])
        if self._tell:
            self._tell(CopiesMerged(self._name, len(readable)))
        record = self.encode(storage_id, merged, self.codec.dumps(merged.values))
        # By how much a store's own clock lets a copy live longer than its writer's.
        skew = max(record.expires_at - state.expires_at for record, state in readable)
        return record._replace(expires_at=record.expires_at + max(0, min(skew, CLOCK_SKEW)))

    def _context(self, storage_id: str, version: Stamp) -> bytes:
        owner, generation, tag = storage_id.encode(), b"%d" % version[0], version[1].encode()
        sizes = SIZES.pack(len(owner), len(generation), len(tag))
        return b"%b%b%b%b%b" % (self._protected_as, sizes, owner, generation, tag)
