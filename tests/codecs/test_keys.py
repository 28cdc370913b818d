from __future__ import annotations

from typing import Any

import pytest

from django_distsession.codecs import BadPayload, Codec

from .conftest import decode, encode, full_state


def test_a_former_secret_key_still_reads(protecting: type[Codec], settings: Any) -> None:
    settings.SECRET_KEY = "old" * 20
    payload = encode(protecting(), full_state())
    settings.SECRET_KEY = "new" * 20
    with pytest.raises(BadPayload):
        decode(protecting(), payload, full_state())
    settings.SECRET_KEY_FALLBACKS = ["older" * 9, "old" * 20]
    assert decode(protecting(), payload, full_state()) == full_state()
