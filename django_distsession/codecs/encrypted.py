"""
Payloads that can neither be read nor altered without the key.
"""

from __future__ import annotations

import os

from .base import BadPayload, Codec
from .keys import secret_keys


class EncryptedCodec(Codec):
    """
    Encrypted and authenticated (AES-256-GCM, by the `cryptography` library).

    Needs the extra: `pip install django-distsession[encryption]`. The key is derived from
    `SECRET_KEY`; what was encrypted under one of `SECRET_KEY_FALLBACKS` can still be read.
    A payload is a random nonce and the ciphertext.
    """

    INFO = b"django_distsession.codecs.EncryptedCodec"
    NONCE_BYTES = 12

    def __init__(self) -> None:
        super().__init__()
        # An optional dependency: other codecs work without it.
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        def cipher(secret: str | bytes) -> AESGCM:
            derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=self.INFO).derive
            return AESGCM(derive(secret.encode() if isinstance(secret, str) else secret))

        self._ciphers = [cipher(secret) for secret in secret_keys()]
        self._invalid = InvalidTag

    def protect(self, context: bytes, content: bytes) -> bytes:
        nonce = os.urandom(self.NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, content, context)

    def unprotect(self, context: bytes, payload: bytes) -> bytes:
        nonce, encrypted = payload[: self.NONCE_BYTES], payload[self.NONCE_BYTES :]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, encrypted, context)
            except (self._invalid, ValueError):
                continue
        raise BadPayload("No key decrypts the payload.")
