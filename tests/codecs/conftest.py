from __future__ import annotations

import pytest

from django_distsession.codecs import Codec, EncryptedCodec, JSONCodec, SignedCodec
from django_distsession.state import State, first_state, next_state

CONTEXT = b"id\n1 tag\n"


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
