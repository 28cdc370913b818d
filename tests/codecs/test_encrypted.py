from __future__ import annotations

from django_distsession.codecs import EncryptedCodec, SignedCodec
from django_distsession.state import first_state

from .conftest import encode


def test_encrypted_payloads_do_not_show_what_is_in_them() -> None:
    state = first_state({"word": "visible"}, created_at=1, expires_at=2, tag="tttttttt")
    assert b"visible" in encode(SignedCodec(), state)
    assert b"visible" not in encode(EncryptedCodec(), state)
