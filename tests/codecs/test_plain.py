from __future__ import annotations

import json

import pytest

from django_distsession.codecs import BadPayload, JSONCodec
from django_distsession.stamps import Stamp
from django_distsession.state import first_state

from .conftest import decode, encode, full_state


def test_json_is_kept_as_json() -> None:
    document = json.loads(encode(JSONCodec(), full_state()))
    assert document["data"] == {"b": 2, "10": 1, "9": 0}


def test_json_to_which_somebody_added_a_key_is_another_state() -> None:
    state = first_state({"a": 1}, created_at=1, expires_at=2, tag="tttttttt")
    document = json.loads(encode(JSONCodec(), state))
    document["data"]["b"] = 2
    changed = decode(JSONCodec(), json.dumps(document).encode(), state)
    assert changed.values == {"a": 1, "b": 2}
    assert changed.version != state.version


def test_json_that_a_server_put_in_another_order_keeps_its_stamps() -> None:
    document = json.loads(encode(JSONCodec(), full_state()))
    document["data"] = dict(sorted(document["data"].items()))
    payload = json.dumps(document).encode()
    assert decode(JSONCodec(), payload, full_state()) == full_state()


STAMPS = (
    b'{"data":{"a":1},"stamps":{"created_at":1,"expires_at":2,"cleared":0,"merged":false,"table":'
    b'%b,"keys":{"a":0},"removed":{}}}'
)
READABLE = STAMPS % b'[[1,"tttttttt"]]'


@pytest.mark.parametrize(
    "payload",
    [
        STAMPS % b"[]",
        STAMPS % b"[1]",
        STAMPS % b'[[-1,"tttttttt"]]',
        STAMPS % b'[["1","tttttttt"]]',
        STAMPS % b'[[true,"tttttttt"]]',
        STAMPS % b'[[null,"tttttttt"]]',
        STAMPS % b'[[1.5,"tttttttt"]]',
        STAMPS % b'[[NaN,"tttttttt"]]',
        STAMPS % b'[[1e300,"tttttttt"]]',
        STAMPS % b'[[1e400,"tttttttt"]]',
        STAMPS % b'[[9007199254740992,"tttttttt"]]',
        STAMPS % b"[[1,1]]",
        STAMPS % b"[[1,null]]",
        STAMPS % b'[[1,""]]',
        STAMPS % b'[[1,"a tag too long"]]',
        STAMPS % b'[[1,"ttttttt\\n"]]',
        STAMPS % b'[[1,"tttttttt\\u0000"]]',
        STAMPS % '[[1,"1234567é"]]'.encode(),
        READABLE.replace(b'"created_at":1', b'"created_at":-1'),
        READABLE.replace(b'"created_at":1', b'"created_at":null'),
        READABLE.replace(b'"expires_at":2', b'"expires_at":1e300'),
        READABLE.replace(b'"expires_at":2', b'"expires_at":true'),
        READABLE.replace(b'"cleared":0', b'"cleared":-1'),
        READABLE.replace(b'"keys":{"a":0}', b'"keys":{"a":1}'),
        READABLE.replace(b'"keys":{"a":0}', b'"keys":{"a":-1}'),
        READABLE.replace(b'"removed":{}', b'"removed":{"b":0.5}'),
        READABLE.replace(b'"a":1', b'"a":1e400'),
        READABLE.replace(b'"a":1', b'"a":1' + b"0" * 400),
        READABLE.replace(b'"a":1', b'"a":1' + b"0" * 5000),
        READABLE.replace(b'"a":1', b'"a":' + b"[" * 100_000 + b"]" * 100_000),
        b"[" * 100_000,
        b'{"data":["ab"],"stamps":{"created_at":1,"expires_at":2,"cleared":0,"table":'
        b'[[1,"tttttttt"]],"keys":{},"removed":{}}}',
        b"",
        b"[]",
        b"{}",
        b'{"data":{},"stamps":[]}',
        b'{"data":[],"stamps":{}}',
        b"\xff",
    ],
    ids=lambda payload: payload[:150].decode("latin-1"),
)
def test_json_that_is_no_session_is_refused(payload: bytes) -> None:
    with pytest.raises(BadPayload):
        decode(JSONCodec(), payload, full_state())


@pytest.mark.parametrize("table", [b'[[1,"tttttttt"]]', b'[[1.0,"tttttttt"]]'])
def test_json_that_a_tool_wrote_again_is_read(table: bytes) -> None:
    payload = (STAMPS % table).replace(b'"merged":false,', b"")
    decoded = decode(JSONCodec(), payload, full_state())
    assert decoded.values == {"a": 1}
    assert decoded.stamps == {"a": Stamp(1, "tttttttt")}
    assert decoded.version == Stamp(1, "tttttttt")
