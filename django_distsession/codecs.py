"""
Payload codecs: how a state becomes bytes, and how those bytes are kept from being altered.

A payload is bound to a context (storage id and version), so that a record copied to another
session, or a reply that belongs to another request, never decodes.

Layout of what is sealed: a flag for compression, a line of JSON with the stamps, then the session
dict as `SESSION_SERIALIZER` writes it, then, if there are any, the removed keys.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from django.conf import settings
from django.contrib.sessions.serializers import JSONSerializer
from django.utils.encoding import force_bytes
from django.utils.module_loading import import_string

from .state import NEVER, Stamp, State

# Below this, zlib takes as long as the way to memcached and back, and saves next to nothing.
COMPRESS_FROM = 4096
PLAIN, DEFLATED = b"\x00", b"\x01"

# Kept, since `json.dumps` makes a new encoder for each call that sets separators.
to_json = json.JSONEncoder(separators=(",", ":")).encode


class BadPayload(Exception):
    """
    A payload was altered, cut short, or belongs to another session.
    """


class Serializer(Protocol):
    """
    What Django's `SESSION_SERIALIZER` names.
    """

    def dumps(self, obj: Any) -> bytes: ...

    def loads(self, data: bytes) -> Any: ...


class Codec(ABC):
    """
    Encodes states. Subclasses say how bytes are sealed and opened.
    """

    # Whether an altered payload is noticed before it reaches the serializer.
    authenticated = True
    # Whether payloads are JSON text that a document store may keep as JSON.
    is_json = False

    def __init__(self) -> None:
        self.serializer: Serializer = import_string(settings.SESSION_SERIALIZER)()

    @abstractmethod
    def seal(self, context: bytes, content: bytes) -> bytes:
        """
        Protect `content` so that only `open` with the same context gives it back.
        """

    @abstractmethod
    def open(self, context: bytes, payload: bytes) -> bytes:
        """
        Give back what was sealed. `BadPayload` if it is not what was sealed in this context.
        """

    def dumps(self, values: Mapping[Any, Any]) -> bytes:
        """
        Serialise a session dict. Raises what the serializer raises, `TypeError` for JSON.
        """
        return self.serializer.dumps(values)

    def loads(self, data: bytes) -> dict[Any, Any]:
        """
        Undo `dumps`.
        """
        values = self.serializer.loads(data)
        if not isinstance(values, dict):
            raise BadPayload("The session is not a dict.")
        return values

    def encode(self, context: bytes, state: State, data: bytes) -> bytes:
        """
        Return the payload of a state whose values are serialised in `data`.
        """
        content = PLAIN + self._pack(state, data)
        if len(content) > COMPRESS_FROM:
            deflated = DEFLATED + zlib.compress(content[1:])
            content = min(deflated, content, key=len)
        return self.seal(context, content)

    def decode(self, context: bytes, payload: bytes) -> tuple[State, bytes]:
        """
        Return the state, and its values as they are serialised. `BadPayload` if that fails.
        """
        content = self.open(context, payload)
        try:
            flag, packed = content[:1], content[1:]
            return self._unpack(zlib.decompress(packed) if flag == DEFLATED else packed)
        except Exception as error:
            # Unpickling and the serializers of users may raise anything.
            raise BadPayload("The payload cannot be read.") from error

    def _pack(self, state: State, data: bytes) -> bytes:
        stamps, removed = pack_stamps(state)
        removed_keys = self.dumps(removed) if removed else b""
        if removed:
            stamps.append(len(data))
        header = to_json(stamps).encode()
        return b"%b\n%b%b" % (header, data, removed_keys)

    def _unpack(self, packed: bytes) -> tuple[State, bytes]:
        header, _, data = packed.partition(b"\n")
        stamps = json.loads(header)
        removed: dict[Any, int] = {}
        if len(stamps) > STAMP_FIELDS:
            size = stamps.pop()
            data, removed = data[:size], self.loads(data[size:])
        return unpack_stamps(stamps, self.loads(data), removed), data


STAMP_FIELDS = 5


def pack_stamps(state: State) -> tuple[list[Any], dict[Any, int]]:
    """
    Return a state's stamps in a form small enough to carry along, and the removed keys.

    The stamps are kept once each, in a table, and referred to by their index in it: few saves
    write a typical session's keys.
    """
    table: dict[Stamp, int] = {state.saved: 0}
    indices = [table.setdefault(at, len(table)) for at in state.stamps.values()]
    removed = {key: table.setdefault(at, len(table)) for key, at in state.removed.items()}
    cleared = table.setdefault(state.cleared, len(table)) if state.cleared != NEVER else -1
    flat = [part for stamp in table for part in stamp]
    return [state.created_at, state.expires_at, cleared, flat, indices], removed


def unpack_stamps(packed: list[Any], values: dict[Any, Any], removed: Mapping[Any, int]) -> State:
    """
    Undo `pack_stamps`.
    """
    created_at, expires_at, cleared, flat, indices = packed
    table = [Stamp(*pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
    return State(
        values,
        {key: table[index] for key, index in zip(values, indices, strict=True)},
        created_at,
        expires_at,
        table[0],
        {key: table[index] for key, index in removed.items()},
        NEVER if cleared < 0 else table[cleared],
    )


def secret_keys() -> Iterator[str | bytes]:
    """
    Yield the key to write with, then those that were in use before it.
    """
    yield settings.SECRET_KEY
    yield from settings.SECRET_KEY_FALLBACKS


class SignedCodec(Codec):
    """
    Signed with `SECRET_KEY` (HMAC-SHA-256), readable by whoever can read the store. The default.

    Django's signing without its base64 and time-stamp, of which stores have no need.
    """

    SALT = "django_distsession.codecs.SignedCodec"
    SIGNATURE_BYTES = 32

    def __init__(self) -> None:
        super().__init__()
        # As Django's `salted_hmac` derives them: half of the work, and the same for every session.
        self._keys = [
            hashlib.sha256(force_bytes(self.SALT) + force_bytes(secret)).digest()
            for secret in secret_keys()
        ]

    @staticmethod
    def _signature(key: bytes, context: bytes, content: bytes) -> bytes:
        return hmac.digest(key, context + content, "sha256")

    def seal(self, context: bytes, content: bytes) -> bytes:
        """
        Put the signature in front.
        """
        return self._signature(self._keys[0], context, content) + content

    def open(self, context: bytes, payload: bytes) -> bytes:
        """
        Check the signature with every secret key that is still valid.
        """
        signature, content = payload[: self.SIGNATURE_BYTES], payload[self.SIGNATURE_BYTES :]
        for key in self._keys:
            if hmac.compare_digest(signature, self._signature(key, context, content)):
                return content
        raise BadPayload("The signature does not match.")


class EncryptedCodec(Codec):
    """
    Encrypted and authenticated (AES-256-GCM, by the `cryptography` library).

    Needs the extra: `pip install django-distsession[encryption]`. The key is derived from
    `SECRET_KEY`; what was encrypted under one of `SECRET_KEY_FALLBACKS` can still be read.
    """

    INFO = b"django_distsession.codecs.EncryptedCodec"
    NONCE_BYTES = 12

    def __init__(self) -> None:
        super().__init__()
        # An extra: whoever uses another codec does not need the library.
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        def cipher(secret: str | bytes) -> AESGCM:
            derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=self.INFO).derive
            return AESGCM(derive(secret.encode() if isinstance(secret, str) else secret))

        self._ciphers = [cipher(secret) for secret in secret_keys()]
        self._invalid = InvalidTag

    def seal(self, context: bytes, content: bytes) -> bytes:
        """
        Encrypt under a fresh nonce, which goes in front.
        """
        nonce = os.urandom(self.NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, content, context)

    def open(self, context: bytes, payload: bytes) -> bytes:
        """
        Decrypt with the first key that fits.
        """
        nonce, encrypted = payload[: self.NONCE_BYTES], payload[self.NONCE_BYTES :]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, encrypted, context)
            except (self._invalid, ValueError):
                continue
        raise BadPayload("No key decrypts the payload.")


class JSONCodec(Codec):
    """
    Plain JSON, neither signed nor encrypted: for stores that nobody else can write to.

    In CouchDB the session dict itself stands under `data`, so that sessions can be queried.
    Always JSON, whatever `SESSION_SERIALIZER` says.
    """

    authenticated = False
    is_json = True

    def __init__(self) -> None:
        self.serializer = JSONSerializer()

    def seal(self, context: bytes, content: bytes) -> bytes:
        """
        Return the content as it is.
        """
        return content

    def open(self, context: bytes, payload: bytes) -> bytes:
        """
        Return the payload as it is.
        """
        return payload

    def encode(self, context: bytes, state: State, data: bytes) -> bytes:
        """
        Return `{"data": the session dict, "stamps": …}`, with stamps by key and not by position:
        a server may reorder the keys of an object.
        """
        (created_at, expires_at, cleared, flat, indices), removed = pack_stamps(state)
        stamps = {
            "created_at": created_at,
            "expires_at": expires_at,
            "cleared": cleared,
            "table": flat,
            "keys": dict(zip(state.values, indices, strict=True)),
            "removed": removed,
        }
        return b'{"data":%b,"stamps":%b}' % (
            data,
            to_json(stamps).encode(),
        )

    def decode(self, context: bytes, payload: bytes) -> tuple[State, bytes]:
        """
        Undo `encode`. A key that was put there by other means counts as written by the last save.
        """
        try:
            document = json.loads(payload)
            values, stamps = document["data"], document["stamps"]
            packed = [
                stamps["created_at"],
                stamps["expires_at"],
                stamps["cleared"],
                stamps["table"],
                [stamps["keys"].get(key, 0) for key in values],
            ]
            return unpack_stamps(packed, values, stamps["removed"]), self.dumps(values)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise BadPayload("The payload cannot be read.") from error
