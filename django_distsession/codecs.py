"""
Payload codecs: how a state becomes bytes, and how those bytes are kept from being altered.

A payload is bound to a context (codec, storage id and version), so that a record copied to another
session, or a reply that belongs to another request, never decodes.

Layout of what is sealed: `HEAD`, then, compressed where that pays, the stamps (see `packing`), the
session dict as `SESSION_SERIALIZER` writes it and, if there are any, the removed keys.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import starmap
from typing import Any

from django.conf import settings
from django.contrib.sessions.serializers import JSONSerializer
from django.utils.encoding import force_bytes
from django.utils.module_loading import import_string

from . import canonical
from .compressing import COMPRESS_FROM, deflate, inflate
from .packing import MERGED, pack_stamps, unpack_stamps
from .serializing import PortableJSONSerializer, QuickJSONSerializer, Serializer
from .stamps import Stamp, Stamps, whole
from .state import NOTHING, State

# Beside the flags of `packing`.
DEFLATED = 1

# The flags, created_at, expires_at, how many keys there are, and the lengths of their stamps and of
# the session dict.
HEAD = struct.Struct("!BqqIII")


class BadPayload(Exception):
    """
    A payload was altered, cut short, or belongs to another session.
    """


class Codec(ABC):
    """
    Encodes states. Subclasses say how bytes are sealed and opened.
    """

    # Whether an altered payload is noticed before it reaches the serializer.
    authenticated = True
    # Whether payloads are JSON text that a document store may keep as JSON.
    is_json = False
    # Whether what is read are plain values, none of which stands in two places as pickled objects
    # may, and the keys are those that were written, in their order.
    is_tree = False

    def __init__(self) -> None:
        named = import_string(settings.SESSION_SERIALIZER)
        self.is_tree = named is JSONSerializer
        self.serializer: Serializer = QuickJSONSerializer() if self.is_tree else named()

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

    def loads(self, data: bytes) -> Any:
        """
        Undo `dumps`.
        """
        return self.serializer.loads(data)

    def as_read(self, keys: Iterable[Any]) -> dict[Any, int]:
        """
        Return the keys as they are once they were written and read again, each with the number of
        the one that it was. Not every serializer keeps them, nor their order.
        """
        numbered = {key: number for number, key in enumerate(keys)}
        read: dict[Any, int] = self.loads(self.dumps(numbered))
        return read

    def encode(self, context: bytes, state: State, data: bytes) -> bytes:
        """
        Return the payload of a state whose values are serialised in `data`.
        """
        if not self.is_tree:
            # Stamps go by the position of their keys.
            positions = list(self.as_read(state.values).values())
            state = state._replace(stamps=state.stamps.in_order(positions))
        flags, stamps = pack_stamps(state)
        body = stamps + data
        if state.removed:
            body += self.dumps({key: number for number, key in enumerate(state.removed)})
        if len(body) > COMPRESS_FROM:
            deflated = deflate(body)
            if len(deflated) < len(body):
                flags, body = flags | DEFLATED, deflated
        sizes = len(state.stamps), len(stamps), len(data)
        head = HEAD.pack(flags, state.created_at, state.expires_at, *sizes)
        return self.seal(context, head + body)

    def decode(self, context: bytes, payload: bytes, version: Stamp) -> tuple[State, bytes]:
        """
        Return the state of this version, and its values as they are serialised. `BadPayload` if
        that cannot be told.
        """
        content = self.open(context, payload)
        try:
            head = HEAD.unpack_from(content)
            flags, created_at, expires_at, count, stamps_size, data_size = head
            body = content[HEAD.size :]
            if flags & DEFLATED:
                body = inflate(body)
            data_end = stamps_size + data_size
            data = body[stamps_size:data_end]
            values = self.loads(data)
            if not isinstance(values, dict):
                raise TypeError("The session is not a dict.")
            numbers = self.loads(body[data_end:]) if len(body) > data_end else NOTHING
            packed = body[:stamps_size]
            stamps, removed, cleared, unseen = unpack_stamps(flags, packed, values, numbers)
            merged = flags & MERGED != 0
            if count != len(values):
                # The serializer has learnt to leave keys out, say. So this is not quite what that
                # save wrote, and goes not by its name.
                stamps, merged = Stamps.of(version, dict.fromkeys(values, version)), True
            saved = stamps.latest if merged else version
            state = State(
                values,
                stamps,
                created_at,
                expires_at,
                saved,
                removed,
                cleared,
                merged=merged,
                unseen=unseen,
            )
            if not self.authenticated:
                # Damage shows now, or else in the middle of a save.
                for stamp in (*stamps.values(), stamps.latest, *removed.values(), cleared):
                    Stamp.stored(*stamp)
                whole(created_at)
                whole(expires_at)
        except Exception as error:
            # Unpickling and the serializers of users may raise anything.
            raise BadPayload("The payload cannot be read.") from error
        return state, data


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
        # Derived once: half of the work, and the same for every session.
        self._keys = [
            hashlib.sha256(canonical.encode(force_bytes(self.SALT), force_bytes(secret))).digest()
            for secret in secret_keys()
        ]

    def seal(self, context: bytes, content: bytes) -> bytes:
        """
        Put the signature in front.
        """
        return hmac.digest(self._keys[0], canonical.encode(context, content), "sha256") + content

    def open(self, context: bytes, payload: bytes) -> bytes:
        """
        Check the signature with every secret key that is still valid.
        """
        signature, content = payload[: self.SIGNATURE_BYTES], payload[self.SIGNATURE_BYTES :]
        signed = canonical.encode(context, content)
        for key in self._keys:
            if hmac.compare_digest(signature, hmac.digest(key, signed, "sha256")):
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
    is_tree = True

    def __init__(self) -> None:
        self.serializer = PortableJSONSerializer()

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
        recent = state.stamps.recent
        used = [state.saved, *state.stamps.values(), *state.removed.values(), state.cleared]
        table = list(dict.fromkeys([*used, *recent]))
        rows = {stamp: row for row, stamp in enumerate(table)}
        stamps = {
            "created_at": state.created_at,
            "expires_at": state.expires_at,
            "merged": state.merged,
            "cleared": rows[state.cleared],
            "recent": [rows[stamp] for stamp in recent],
            "unseen": [rows[stamp] for stamp in state.unseen],
            "table": table,
            "keys": {key: rows[stamp] for key, stamp in state.stamps.items()},
            "removed": {key: rows[stamp] for key, stamp in state.removed.items()},
        }
        return b'{"data":%b,"stamps":%b}' % (data, self.dumps(stamps))

    def decode(self, context: bytes, payload: bytes, version: Stamp) -> tuple[State, bytes]:
        """
        Undo `encode`. A key that was put there by other means counts as written by the last save.

        Nothing binds the document to its version, so what it says of that itself counts.
        """
        try:
            document = self.loads(payload)
            values, stamps = document["data"], document["stamps"]
            if not isinstance(values, dict):
                raise BadPayload("The session is not a dict.")
            table, rows = list(starmap(Stamp.stored, stamps["table"])), stamps["keys"]
            last = len(table) - 1
            known = {key: table[whole(rows.get(key, 0), last)] for key in values}
            recent = [table[whole(row, last)] for row in stamps.get("recent", ())]
            state = State(
                values,
                Stamps.of(table[0], known, recent),
                whole(stamps["created_at"]),
                whole(stamps["expires_at"]),
                table[0],
                {
                    key: table[whole(row, last)]
                    for key, row in stamps["removed"].items()
                    if key not in values
                },
                table[whole(stamps["cleared"], last)],
                # If these are not quite the keys that that save wrote, it goes not by its name.
                merged=stamps.get("merged", False) is not False or values.keys() != rows.keys(),
                unseen=tuple([table[whole(row, last)] for row in stamps.get("unseen", ())]),
            )
            return state, self.dumps(values)
        except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise BadPayload("The payload cannot be read.") from error
