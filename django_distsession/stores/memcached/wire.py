"""
A record as the bytes of a memcached value, and back.

Layout: magic and format version, flags, generation, tag, expires_at, retain_until, created_at,
validated_at, the first bytes of the storage id's hash, the length of source_rev, source_rev, the
payload.
"""

from __future__ import annotations

import struct
from hashlib import blake2b

from ...stamps import LARGEST, TAG_SIZE, Stamp, is_tag
from ..record import Record

MAGIC = b"dS"
FORMAT = 1
ENDED = 1
UNSYNCED = 2

# magic, format, flags, generation, tag, expires_at, retain_until, created_at, validated_at, id,
# length of source_rev
HEADER = struct.Struct(f"!2sBBQ{TAG_SIZE}sQQQQ8sB")
LONGEST_SOURCE_REV = 255

# memcached takes a longer time for an absolute one, and takes none that 31 bits do not hold: an
# item with such a time is gone at once.
LONGEST_RELATIVE_TTL = 30 * 24 * 3600
LATEST_ABSOLUTE_TTL = 2**31 - 1

# Records outlive their expiry in memcached by this, so that no skewed clock ends a session early.
CLOCK_SKEW = 300
# Whole seconds are counted in several places; what differs by less is no skew.
ROUNDING = 5


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


def pack(of: bytes, record: Record) -> bytes:
    """
    Return the bytes to store. of: the fingerprint of the storage id.
    """
    generation, tag = record.version
    source_rev = record.source_rev.encode()
    if len(source_rev) > LONGEST_SOURCE_REV:
        # No revision of a CouchDB's own making. Who saves reads there what to replace.
        source_rev = b""
    times = [record.expires_at, record.retain_until, record.created_at, record.validated_at]
    if min(times) < 0 or max(times) > LARGEST:
        # Whatever a damaged record says fits.
        times = [min(max(time, 0), LARGEST) for time in times]
    flags = ENDED * record.ended | UNSYNCED * record.unsynced
    header = HEADER.pack(
        MAGIC, FORMAT, flags, generation, tag.encode(), *times, of, len(source_rev)
    )
    return header + source_rev + record.payload


def unpack(of: bytes, value: bytes) -> Record:
    """
    Undo `pack`. `ForeignValue`, or `NewerFormat`.
    """
    if value[:2] != MAGIC or len(value) < 3 or value[2] < 1:
        raise ForeignValue
    # First of all: what follows may be laid out in another way.
    if value[2] > FORMAT:
        raise NewerFormat
    try:
        _, _, flags, generation, tag, *times, owner, size = HEADER.unpack_from(value)
    except struct.error:
        raise ForeignValue from None
    end = HEADER.size + size
    if owner != of or len(value) < end or max(generation, *times) > LARGEST:
        raise ForeignValue
    try:
        name = tag.decode("ascii")
        source_rev = value[HEADER.size : end].decode("ascii") if size else ""
    except UnicodeDecodeError:
        raise ForeignValue from None
    if not is_tag(name):
        raise ForeignValue
    expires_at, retain_until, created_at, validated_at = times
    return Record(
        Stamp(generation, name),
        expires_at,
        created_at,
        value[end:],
        None,
        bool(flags & ENDED),
        source_rev,
        validated_at,
        bool(flags & UNSYNCED),
        retain_until,
    )


def ttl(record: Record, now: float) -> int:
    """
    Return the time that memcached is to keep a record, as it takes it.
    """
    retention_deadline = max(record.expires_at, record.retain_until)
    remaining = max(retention_deadline - int(now), 0) + CLOCK_SKEW
    if remaining <= LONGEST_RELATIVE_TTL:
        return remaining
    return min(retention_deadline + CLOCK_SKEW, LATEST_ABSOLUTE_TTL)


def as_exptime(remaining: int, now: float) -> int:
    """
    Return the time that one server still keeps a record as another one takes it.
    """
    if remaining <= LONGEST_RELATIVE_TTL:
        return max(remaining, 1)
    return min(int(now) + remaining, LATEST_ABSOLUTE_TTL)


def skew(record: Record, now: float, remaining: int) -> int:
    """
    Return by how many seconds a record lives longer than this process's clock makes of it.

    remaining: what the server says. It counts down by one clock for all web servers, so where
    theirs disagree, the session lives as long as the server says.
    """
    longer = int(now) + remaining - CLOCK_SKEW - max(record.expires_at, record.retain_until)
    return longer if longer > ROUNDING else 0
