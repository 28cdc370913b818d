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
        # Prepared once: half of the work, and the same for every session.
        self._macs = [
            hmac.new(
                hashlib.sha256(
                    canonical.encode(force_bytes(self.SALT), force_bytes(secret))
                ).digest(),
                digestmod="sha256",
            )
            for secret in secret_keys()
        ]

    def protect(self, context: bytes, content: bytes) -> bytes:
        return _signature(self._macs[0], context, content) + content

    def unprotect(self, context: bytes, payload: bytes) -> bytes:
        signature, content = payload[: self.SIGNATURE_BYTES], payload[self.SIGNATURE_BYTES :]
        for mac in self._macs:
            if hmac.compare_digest(signature, _signature(mac, context, content)):
                return content
        raise BadPayload("The signature does not match.")


def _signature(mac: hmac.HMAC, context: bytes, content: bytes) -> bytes:
    mac = mac.copy()
    mac.update(_size(len(context)) + context)
    mac.update(content)
    return mac.digest()
