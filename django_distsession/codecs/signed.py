"""
Payloads that can be read, and not altered without the key.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from django.utils.encoding import force_bytes

from .. import canonical
from .base import BadPayload, Codec
from .keys import secret_keys

# Signed are the length of the context, the context and the content: the length keeps bytes from
# being moved between the two.
_size = struct.Struct("!Q").pack


class SignedCodec(Codec):
    """
    Signed with `SECRET_KEY` (HMAC-SHA-256), readable by whoever can read the store. The default.

    Like Django's `Signer`, without base64. A payload is the signature and the content.
    """

    SALT = "django_distsession.codecs.SignedCodec"
    SIGNATURE_BYTES = 32

    def __init__(self) -> None:
        super().__init__()
        # Derived once: half of the work, and the same for every session.
        self._keys = [
            hashlib.sha256(canonical.encode(force_bytes(self.SALT), force_bytes(secret))).digest()
            for secret in secret_keys()
        ]

    def protect(self, context: bytes, content: bytes) -> bytes:
        return (
            hmac.digest(
                self._keys[0], b"%b%b%b" % (_size(len(context)), context, content), "sha256"
            )
            + content
        )

    def unprotect(self, context: bytes, payload: bytes) -> bytes:
        signature, content = payload[: self.SIGNATURE_BYTES], payload[self.SIGNATURE_BYTES :]
        signed = b"%b%b%b" % (_size(len(context)), context, content)
        for key in self._keys:
            if hmac.compare_digest(signature, hmac.digest(key, signed, "sha256")):
                return content
        raise BadPayload("The signature does not match.")
