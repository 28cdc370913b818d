"""
What somebody tries who may write to a store, has a session of his own and lacks `SECRET_KEY`.
"""

from __future__ import annotations

import pytest

from django_distsession.backends.records import Records
from django_distsession.codecs import BadPayload, SignedCodec
from django_distsession.codecs.base import HEAD
from django_distsession.stamps import Stamp, Stamps
from django_distsession.state import State, first_state
from django_distsession.stores.couchdb.documents import ForeignDocument, to_document, to_record
from django_distsession.stores.record import Record

STORAGE_ID = "a" * 64

# Times that are far enough away, and whose bytes are ASCII.
CREATED_AT, EXPIRES_AT = 0x68686868, 0x78787878
DATA = b'{"_auth_user_id": "1"}'
# The payload that is to be read: its head, one stamp for the keys of his own session, which pass
# for removed ones, and the session.
WANTED = HEAD.pack(0, CREATED_AT, EXPIRES_AT, 1, 16, len(DATA)) + bytes(7) + b"\x0100000000" + DATA
NEWLINE, TAB = 10, 9
ROWS = max(WANTED) + 1


def session_that_spells() -> State:
    """
    Return a session in which the bytes that say which save wrote which key spell `WANTED`.

    Whoever saves often enough can make one: the save of row 123 in the table of stamps writes the
    keys that are to be "{".
    """
    # What stands behind a version's tag, and white space in front of what follows.
    rows = [NEWLINE, *WANTED]
    # The last save's stamp is the highest, and all of it is ASCII.
    table = [Stamp(ROWS + 1 if row == TAB else row + 1, "t" * 8) for row in range(ROWS)]
    packed = b"".join([stamp.packed() for stamp in table]) + bytes([*rows, TAB])
    values = {f"k{position:02}": 0 for position in range(len(rows))}
    return State(values, Stamps(list(values), packed), CREATED_AT, EXPIRES_AT, table[TAB])


def with_bytes_moved(record: Record, count: int) -> Record:
    """
    Return a record whose first `count` bytes of content stand in its version's tag instead.
    """
    size = SignedCodec.SIGNATURE_BYTES
    signature, content = record.payload[:size], record.payload[size:]
    moved = f"{record.version.tag}\n{content[:count].decode()}"
    assert moved.endswith("\n")
    return record._replace(
        version=record.version._replace(tag=moved[:-1]), payload=signature + content[count:]
    )


def test_bytes_moved_from_the_content_into_the_version_are_noticed() -> None:
    records = Records(SignedCodec())
    state = session_that_spells()
    record = records.encode(STORAGE_ID, state, records.codec.dumps(state.values))
    opened = records.decode(STORAGE_ID, record)
    assert opened is not None
    assert opened[0] == state
    forged = with_bytes_moved(record, record.payload.index(WANTED) - SignedCodec.SIGNATURE_BYTES)
    read = records.decode(STORAGE_ID, forged)
    # It said {"_auth_user_id": "1"}.
    assert (read and read[0].values) is None


def test_such_a_version_is_not_read_from_a_store() -> None:
    records = Records(SignedCodec())
    state = session_that_spells()
    record = records.encode(STORAGE_ID, state, records.codec.dumps(state.values))
    forged = with_bytes_moved(record, record.payload.index(WANTED) - SignedCodec.SIGNATURE_BYTES)
    document = to_document(STORAGE_ID, forged, None, 1, as_json=False)
    with pytest.raises(ForeignDocument):
        to_record(document, as_json=False)


class OtherCodec(SignedCodec):
    """
    A codec of a project's own, with the keys of the one that it is made from.
    """


def test_what_one_codec_wrote_no_other_reads() -> None:
    state = first_state({"a": 1}, created_at=CREATED_AT, expires_at=EXPIRES_AT, tag="t" * 8)
    ours, theirs = Records(SignedCodec()), Records(OtherCodec())
    record = theirs.encode(STORAGE_ID, state, theirs.codec.dumps(state.values))
    assert theirs.decode(STORAGE_ID, record) is not None
    assert ours.decode(STORAGE_ID, record) is None


def test_no_byte_goes_from_the_context_to_the_content() -> None:
    codec = SignedCodec()
    protected = codec.protect(b"context", b"content")
    assert codec.unprotect(b"context", protected) == b"content"
    size = codec.SIGNATURE_BYTES
    for context, content in ((b"contextc", b"ontent"), (b"contex", b"tcontent")):
        with pytest.raises(BadPayload):
            codec.unprotect(context, protected[:size] + content)
