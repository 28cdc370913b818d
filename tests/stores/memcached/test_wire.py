"""
What is looked for in a value before it is believed to be a session.
"""

from __future__ import annotations

import pytest

from django_distsession.stamps import LARGEST, Stamp
from django_distsession.stores.memcached import wire
from django_distsession.stores.record import Record

OF = wire.fingerprint("a" * 64)
TAG = b"-_aZ09+x"
FIELDS: dict[str, object] = {
    "magic": wire.MAGIC,
    "format": wire.FORMAT,
    "flags": 0,
    "generation": 3,
    "tag": TAG,
    "expires_at": 500,
    "retain_until": 900,
    "created_at": 100,
    "validated_at": 400,
    "owner": OF,
    "length": 3,
}


def value(**changed: object) -> bytes:
    return wire.HEADER.pack(*(FIELDS | changed).values()) + b"1-a" + b"payload"


def test_what_was_written_is_read() -> None:
    record = Record(
        Stamp(3, TAG.decode()),
        500,
        100,
        b"payload",
        source_rev="1-a",
        validated_at=400,
        retain_until=900,
    )
    assert wire.pack(OF, record) == value()
    assert wire.unpack(OF, value()) == record
    ended = Record.tombstone(2**40)
    assert wire.unpack(OF, wire.pack(OF, ended)) == ended


@pytest.mark.parametrize(
    "changed",
    [
        {"generation": LARGEST + 1},
        {"generation": 2**64 - 1},
        {"tag": b""},
        {"tag": b"a" * 7},
        {"tag": b"a" * 7 + b"\n"},
        {"tag": b"\xff" * 8},
        {"expires_at": LARGEST + 1},
        {"retain_until": 2**64 - 1},
        {"created_at": LARGEST + 1},
        {"validated_at": LARGEST + 1},
        {"length": 11},
    ],
)
def test_what_no_save_can_have_made_is_foreign(changed: dict[str, object]) -> None:
    with pytest.raises(wire.ForeignValue):
        wire.unpack(OF, value(**changed))


def test_an_origin_that_has_no_room_is_not_remembered() -> None:
    record = Record(Stamp(1, "a" * 8), 500, 100, b"payload", source_rev="1-" + "a" * 300)
    assert wire.unpack(OF, wire.pack(OF, record)).source_rev == ""
