"""
What holds for every codec.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from django_distsession.backends.records import Records
from django_distsession.codecs import BadPayload, Codec, EncryptedCodec, SignedCodec
from django_distsession.codecs.base import DEFLATED, HEAD
from django_distsession.compressing import COMPRESS_FROM, MOST_BYTES
from django_distsession.exceptions import RecordTooLarge
from django_distsession.packing import pack_stamps
from django_distsession.stamps import Stamp
from django_distsession.state import first_state, merge, next_state

from .conftest import CONTEXT, decode, encode, full_state

SERIALIZERS = "tests.codecs.serializers"

STORAGE_ID = "a" * 64


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


@pytest.mark.parametrize("protecting", [SignedCodec, EncryptedCodec])
@pytest.mark.parametrize(
    ("storage_id", "version"),
    [
        (STORAGE_ID, Stamp(1, "1" + "t" * 7)),
        (STORAGE_ID, Stamp(11, "t" * 8)),
        (STORAGE_ID + "1", Stamp(1, "t" * 8)),
        (STORAGE_ID[:-1], Stamp(1, "t" * 8)),
        (STORAGE_ID, Stamp(1, "t" * 7)),
    ],
)
def test_a_record_is_bound_to_its_session_and_version(
    protecting: type[Codec], storage_id: str, version: Stamp
) -> None:
    records = Records(protecting())
    state = first_state({"a": 1}, created_at=1, expires_at=2, tag="t" * 8)
    record = records.encode(STORAGE_ID, state, records.codec.dumps(state.values))
    assert records.decode(STORAGE_ID, record) is not None
    assert records.decode(storage_id, record._replace(version=version)) is None


def test_a_session_that_is_no_dict_is_refused() -> None:
    codec = SignedCodec()
    state = first_state({}, created_at=1, expires_at=2, tag="tttttttt")
    _, stamps = pack_stamps(state)
    data = b"[7]"
    head = HEAD.pack(0, 1, 2, 0, len(stamps), len(data))
    payload = codec.protect(CONTEXT, head + stamps + data)
    with pytest.raises(BadPayload):
        decode(codec, payload, state)


def test_other_serializers_serve_too(settings: Any) -> None:
    settings.SESSION_SERIALIZER = f"{SERIALIZERS}.PickleSerializer"
    state = first_state({"set": {1, 2}, 5: "key"}, created_at=1, expires_at=2, tag="tttttttt")
    state = next_state(state, {"set": {1, 2}}, changed=set(), expires_at=3, tag="uuuuuuuu")
    assert decode(SignedCodec(), encode(SignedCodec(), state), state) == state


def test_a_serializer_may_put_keys_in_an_order_of_its_own(settings: Any) -> None:
    settings.SESSION_SERIALIZER = f"{SERIALIZERS}.TidySerializer"
    state = first_state(
        {"z": 1, "m": 1, "k": 1, "j": 1}, created_at=1, expires_at=2, tag="tttttttt"
    )
    state = next_state(
        state, {"z": 2, "m": 1, "a": 2}, changed={"z", "a"}, expires_at=3, tag="uuuuuuuu"
    )
    state = next_state(state, {"z": 2, "m": 1}, changed=(), expires_at=3, tag="vvvvvvvv")
    assert decode(SignedCodec(), encode(SignedCodec(), state), state) == state


def test_a_serializer_may_write_keys_in_another_way(settings: Any) -> None:
    settings.SESSION_SERIALIZER = f"{SERIALIZERS}.CapitalSerializer"
    state = first_state({"b": 1, "a": 1}, created_at=1, expires_at=2, tag="tttttttt")
    state = next_state(state, {"b": 1, "a": 2}, changed={"a"}, expires_at=3, tag="uuuuuuuu")
    decoded = decode(SignedCodec(), encode(SignedCodec(), state), state)
    assert decoded.stamps == {"B": Stamp(1, "tttttttt"), "A": Stamp(2, "uuuuuuuu")}


def test_a_key_may_differ_from_itself(settings: Any) -> None:
    settings.SESSION_SERIALIZER = f"{SERIALIZERS}.PickleSerializer"
    nan = float("nan")
    state = first_state({nan: 1, "a": 1}, created_at=1, expires_at=2, tag="tttttttt")
    state = next_state(state, {nan: 1, "a": 2}, changed={"a"}, expires_at=3, tag="uuuuuuuu")
    decoded = decode(SignedCodec(), encode(SignedCodec(), state), state)
    assert list(decoded.stamps.values()) == [Stamp(1, "tttttttt"), Stamp(2, "uuuuuuuu")]


def test_a_serializer_may_leave_keys_out_from_some_day_on(settings: Any) -> None:
    state = first_state({"old": 1, "a": 1}, created_at=1, expires_at=2, tag="tttttttt")
    state = next_state(state, {"old": 1, "a": 2}, changed={"a"}, expires_at=3, tag="uuuuuuuu")
    payload = encode(SignedCodec(), state)
    settings.SESSION_SERIALIZER = f"{SERIALIZERS}.ForgettingSerializer"
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
