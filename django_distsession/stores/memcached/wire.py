"""
A record as the bytes of a memcached value, and back.

Layout: magic and format version, flags, generation, tag, expires_at, created_at, checked_at, the
first bytes of the storage id's hash, the length of the origin, the origin, the payload.
"""

from __future__ import annotations

import struct
from hashlib import blake2b

from ...state import Stamp
from ..base import Record

MAGIC = b"dS"
FORMAT = 1
ENDED = 1
UNSYNCED = 2

# magic, format, flags, generation, tag, expires_at, created_at, checked_at, id, length of origin
HEADER = struct.Struct("!2sBBQ16sQQQ8sB")


class ForeignValue(Exception):
    """
    Not a value that this package wrote under this key.
    """


class NewerFormat(Exception):
    """
    Written by a later version of this package: to be left alone.
    """


def fingerprint(storage_id: str) -> bytes:
    """
    Return what a value says of the session it belongs to.
    """
    return blake2b(storage_id.encode(), digest_size=8).digest()


def pack(storage_id: str, record: Record) -> bytes:
    """
    Return the bytes to store.
    """
    origin = record.origin.encode()
    header = HEADER.pack(
        MAGIC,
        FORMAT,
        ENDED * record.ended | UNSYNCED * record.unsynced,
        record.version.generation,
        record.version.tag.encode(),
        max(record.expires_at, 0),
        max(record.created_at, 0),
        record.checked_at,
        fingerprint(storage_id),
        len(origin),
    )
    return header + origin + record.payload


def unpack(storage_id: str, value: bytes) -> Record:
    """
    Undo `pack`. `ForeignValue`, or `NewerFormat`.
    """
    try:
        (magic, version, flags, generation, tag, expires_at, created_at, checked_at, of, size) = (
            HEADER.unpack_from(value)
        )
    except struct.error:
        raise ForeignValue from None
    if magic != MAGIC or version < 1:
        raise ForeignValue
    if version > FORMAT:
        raise NewerFormat
    if of != fingerprint(storage_id):
        raise ForeignValue
    end = HEADER.size + size
    return Record(
        Stamp(generation, tag.rstrip(b"\0").decode("ascii", "replace")),
        expires_at,
        created_at,
        value[end:],
        ended=bool(flags & ENDED),
        origin=value[HEADER.size : end].decode("ascii", "replace"),
        checked_at=checked_at,
        unsynced=bool(flags & UNSYNCED),
    )
