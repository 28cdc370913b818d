from __future__ import annotations

import json
import pickle
import zlib
from typing import Any

import pytest
from django.contrib.sessions.serializers import JSONSerializer

from django_distsession.codecs import (
    BadPayload,
    Codec,
    EncryptedCodec,
    JSONCodec,
    SignedCodec,
)
from django_distsession.codecs.base import DEFLATED, HEAD
from django_distsession.compressing import COMPRESS_FROM, MOST_BYTES
from django_distsession.exceptions import RecordTooLarge
from django_distsession.packing import pack_stamps
from django_distsession.stamps import Stamp
from django_distsession.state import State, first_state, merge, next_state

CONTEXT = b"id\n1 tag\n"


class PickleSerializer:
    def dumps(self, obj: Any) -> bytes:
        return pickle.dumps(obj)

    def loads(self, data: bytes) -> Any:
        return pickle.loads(data)


@pytest.fixture(params=[SignedCodec, EncryptedCodec, JSONCodec])
def codec(request: pytest.FixtureRequest) -> Codec:
    made: Codec = request.param()
    return made


@pytest.fixture(params=[SignedCodec, EncryptedCodec])
def protecting(request: pytest.FixtureRequest) -> type[Codec]:
    made: type[Codec] = request.param
    return made


def full_state() -> State:
    state = first_state({"a": 1, "b": [1, {"x": "ü"}]}, created_at=1, expires_at=2, tag="tttttttt")
    state = next_state(state, {"z": 1}, changed={"z"}, expires_at=3, tag="uuuuuuuu", cleared=True)
    state = next_state(state, {"b": 2}, changed={"b"}, expires_at=4, tag="vvvvvvvv")
    return next_state(
        state, {"b": 2, "10": 1, "9": 0}, changed={"10", "9"}, expires_at=5, tag="wwwwwwww"
    )


def encode(codec: Codec, state: State, context: bytes = CONTEXT) -> bytes:
    return codec.encode(context, state, codec.dumps(state.values))


def decode(codec: Codec, payload: bytes, like: State) -> State:
    return codec.decode(CONTEXT, payload, like.version)[0]


def test_what_is_encoded_is_decoded(codec: Codec) -> None:
    state = full_state()
    decoded, data = codec.decode(CONTEXT, encode(codec, state), state.version)
    assert decoded == state
    assert list(decoded.values) == list(state.values)
    assert decoded.version == state.version
    assert data == codec.dumps(state.values)


def test_a_merged_state_keeps_its_name(codec: Codec) -> None:
    base = first_state({"a": 1}, created_at=1, expires_at=2, tag="tttttttt")
    one = next_state(base, {"a": 1, "b": 1}, changed={"b"}, expires_at=3, tag="uuuuuuuu")
    other = next_state(base, {"a": 2}, changed={"a"}, expires_at=3, tag="vvvvvvvv")
    merged = merge(one, other)
    decoded = decode(codec, encode(codec, merged), merged)
    assert decoded == merged
    assert decoded.version == merged.version not in (one.version, other.version)


def test_large_sessions_are_compressed(protecting: type[Codec]) -> None:
    state = first_state({"a": "x" * 10 * COMPRESS_FROM}, created_at=1, expires_at=2, tag="tttttttt")
    payload = encode(protecting(), state)
    assert len(payload) < COMPRESS_FROM
    assert decode(protecting(), payload, state) == state


@pytest.mark.parametrize("damage", ["bomb", "cut short"])
def test_what_does_not_unpack_to_what_was_packed_is_refused(
    protecting: type[Codec], damage: str
) -> None:
    codec, state = protecting(), first_state({}, created_at=1, expires_at=2, tag="t" * 8)
    _, stamps = pack_stamps(state)
    size = MOST_BYTES + 1 if damage == "bomb" else 100
    packed = zlib.compress(stamps + b"{" + b" " * size + b"}", 1)
    head = HEAD.pack(DEFLATED, 1, 2, 0, len(stamps), size + 2)
    with pytest.raises(BadPayload):
        decode(codec, codec.protect(CONTEXT, head + packed[: None if size > 100 else -1]), state)


def test_a_session_that_could_not_be_unpacked_is_refused() -> None:
    state = first_state({}, created_at=1, expires_at=2, tag="t" * 8)
    with pytest.raises(RecordTooLarge, match="67,108,"):
        SignedCodec().encode(CONTEXT, state, bytes(MOST_BYTES))


@pytest.mark.parametrize("position", [0, 12, 31, 32, 40, -1])
def test_an_altered_payload_is_refused(protecting: type[Codec], position: int) -> None:
    payload = bytearray(encode(protecting(), full_state()))
    payload[position] ^= 1
    with pytest.raises(BadPayload):
        decode(protecting(), bytes(payload), full_state())


@pytest.mark.parametrize("size", [0, 1, 12, 31, 32, 33])
def test_a_truncated_payload_is_refused(codec: Codec, size: int) -> None:
    with pytest.raises(BadPayload):
        decode(codec, encode(codec, full_state())[:size], full_state())


def test_a_payload_of_another_session_is_refused(protecting: type[Codec]) -> None:
    payload = encode(protecting(), full_state())
    with pytest.raises(BadPayload):
        protecting().decode(b"other\n1 tag\n", payload, full_state().version)


def test_a_former_secret_key_still_reads(protecting: type[Codec], settings: Any) -> None:
    settings.SECRET_KEY = "old" * 20
    payload = encode(protecting(), full_state())
    settings.SECRET_KEY = "new" * 20
    with pytest.raises(BadPayload):
        decode(protecting(), payload, full_state())
    settings.SECRET_KEY_FALLBACKS = ["older" * 9, "old" * 20]
    assert decode(protecting(), payload, full_state()) == full_state()


def test_encrypted_payloads_do_not_show_what_is_in_them() -> None:
    state = first_state({"word": "visible"}, created_at=1, expires_at=2, tag="tttttttt")
    assert b"visible" in encode(SignedCodec(), state)
    assert b"visible" not in encode(EncryptedCodec(), state)


def test_other_serializers_serve_too(settings: Any) -> None:
    settings.SESSION_SERIALIZER = f"{__name__}.PickleSerializer"
    state = first_state({"set": {1, 2}, 5: "key"}, created_at=1, expires_at=2, tag="tttttttt")
    state = next_state(state, {"set": {1, 2}}, changed=set(), expires_at=3, tag="uuuuuuuu")
    assert decode(SignedCodec(), encode(SignedCodec(), state), state) == state


class TidySerializer(JSONSerializer):
    """
    Writes what Django's does, in the order of the alphabet.
    """

    def dumps(self, obj: Any) -> bytes:
        return json.dumps(obj, sort_keys=True).encode()


def test_a_serializer_may_put_keys_in_an_order_of_its_own(settings: Any) -> None:
    settings.SESSION_SERIALIZER = f"{__name__}.TidySerializer"
    state = first_state(
        {"z": 1, "m": 1, "k": 1, "j": 1}, created_at=1, expires_at=2, tag="tttttttt"
    )
    state = next_state(
        state, {"z": 2, "m": 1, "a": 2}, changed={"z", "a"}, expires_at=3, tag="uuuuuuuu"
    )
    state = next_state(state, {"z": 2, "m": 1}, changed=(), expires_at=3, tag="vvvvvvvv")
    assert decode(SignedCodec(), encode(SignedCodec(), state), state) == state


class CapitalSerializer(JSONSerializer):
    """
    Writes keys in capitals.
    """

    def dumps(self, obj: Any) -> bytes:
        return super().dumps({key.upper(): value for key, value in obj.items()})


class ForgettingSerializer(JSONSerializer):
    """
    Leaves out a key that is no longer in use.
    """

    def loads(self, data: bytes) -> Any:
        return {key: value for key, value in super().loads(data).items() if key != "old"}


def test_a_serializer_may_write_keys_in_another_way(settings: Any) -> None:
    settings.SESSION_SERIALIZER = f"{__name__}.CapitalSerializer"
    state = first_state({"b": 1, "a": 1}, created_at=1, expires_at=2, tag="tttttttt")
    state = next_state(state, {"b": 1, "a": 2}, changed={"a"}, expires_at=3, tag="uuuuuuuu")
    decoded = decode(SignedCodec(), encode(SignedCodec(), state), state)
    assert decoded.stamps == {"B": Stamp(1, "tttttttt"), "A": Stamp(2, "uuuuuuuu")}


def test_a_key_may_differ_from_itself(settings: Any) -> None:
    settings.SESSION_SERIALIZER = f"{__name__}.PickleSerializer"
    nan = float("nan")
    state = first_state({nan: 1, "a": 1}, created_at=1, expires_at=2, tag="tttttttt")
    state = next_state(state, {nan: 1, "a": 2}, changed={"a"}, expires_at=3, tag="uuuuuuuu")
    decoded = decode(SignedCodec(), encode(SignedCodec(), state), state)
    assert list(decoded.stamps.values()) == [Stamp(1, "tttttttt"), Stamp(2, "uuuuuuuu")]


def test_a_serializer_may_leave_keys_out_from_some_day_on(settings: Any) -> None:
    state = first_state({"old": 1, "a": 1}, created_at=1, expires_at=2, tag="tttttttt")
    state = next_state(state, {"old": 1, "a": 2}, changed={"a"}, expires_at=3, tag="uuuuuuuu")
    payload = encode(SignedCodec(), state)
    settings.SESSION_SERIALIZER = f"{__name__}.ForgettingSerializer"
    decoded = decode(SignedCodec(), payload, state)
    assert decoded.values == {"a": 2}
    assert decoded.stamps == {"a": state.saved}
    # It says something else than what went by that name.
    assert decoded.version != state.version
    later = next_state(decoded, {"a": 3}, changed={"a"}, expires_at=3, tag="vvvvvvvv")
    assert decode(SignedCodec(), encode(SignedCodec(), later), later) == later


class LoudCodec(SignedCodec):
    """
    A codec of a project's own, which serialises in a way of its own.
    """

    def dumps(self, values: Any) -> bytes:
        return super().dumps({**values, "loud": True})


def test_a_codec_of_ones_own_may_serialise_in_another_way() -> None:
    assert json.loads(LoudCodec().dumps({"a": 1})) == {"a": 1, "loud": True}


def test_json_with_white_space_around_is_read() -> None:
    assert SignedCodec().loads(b' {"a":1}\n') == {"a": 1}


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


def test_a_session_that_is_no_dict_is_refused() -> None:
    codec = SignedCodec()
    state = first_state({}, created_at=1, expires_at=2, tag="tttttttt")
    _, stamps = pack_stamps(state)
    data = b"[7]"
    head = HEAD.pack(0, 1, 2, 0, len(stamps), len(data))
    payload = codec.protect(CONTEXT, head + stamps + data)
    with pytest.raises(BadPayload):
        decode(codec, payload, state)
