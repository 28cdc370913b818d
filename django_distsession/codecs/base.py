"""
What all codecs have in common: how a state is laid out in bytes.

Layout of what is protected: `HEAD`, then, compressed where that pays, the stamps (see `packing`),
the session dict as `SESSION_SERIALIZER` writes it and, if there are any, the removed keys.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.contrib.sessions.serializers import JSONSerializer
from django.utils.module_loading import import_string

from ..compressing import COMPRESS_FROM, deflate, inflate
from ..packing import MERGED, pack_stamps, unpack_stamps
from ..serializing import QuickJSONSerializer, Serializer
from ..stamps import Stamp, Stamps, whole
from ..state import NOTHING, State

# A flag, beside those of `packing`.
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
    Encodes states. Subclasses say how bytes are protected and opened.
    """

    # Whether an altered payload is noticed before it reaches the serializer.
    authenticated = True
    # Whether payloads are JSON text that a document store may keep as JSON.
    is_json = False
    # Whether a decoded session is a tree of plain values (pickle can make shared references), with
    # the keys that were written, in their order.
    is_tree = False

    def __init__(self) -> None:
        named = import_string(settings.SESSION_SERIALIZER)
        self.is_tree = named is JSONSerializer
        self.serializer: Serializer = QuickJSONSerializer() if self.is_tree else named()

    @abstractmethod
    def protect(self, context: bytes, content: bytes) -> bytes:
        """
        Protect `content` so that only `unprotect` with the same context gives it back.
        """

    @abstractmethod
    def unprotect(self, context: bytes, payload: bytes) -> bytes:
        """
        Give back what was protected. `BadPayload` if it is not what was protected in this context.
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
        Return the keys as a round trip through the serializer leaves them, each with its position
        before. A serializer may change keys, and their order.
        """
        numbered = {key: number for number, key in enumerate(keys)}
        read: dict[Any, int] = self.loads(self.dumps(numbered))
        return read

    def encode(self, context: bytes, state: State, data: bytes) -> bytes:
        """
        Return the payload of a state whose values are serialised in `data`.
        """
        if not self.is_tree:
            # A stamp is stored by the position of its key.
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
        sizes = len(state.values), len(stamps), len(data)
        head = HEAD.pack(flags, state.created_at, state.expires_at, *sizes)
        return self.protect(context, head + body)

    def decode(self, context: bytes, payload: bytes, version: Stamp) -> tuple[State, bytes]:
        """
        Return the state of this version, and its values as they are serialised. `BadPayload` if
        the payload cannot be decoded.
        """
        content = self.unprotect(context, payload)
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
                # By now the serializer leaves out keys, for example. This differs from what the
                # save wrote, so it must not have its version.
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
                # Damage would otherwise be found in the middle of a save.
                for stamp in (*stamps.values(), stamps.latest, *removed.values(), cleared):
                    Stamp.stored(*stamp)
                whole(created_at)
                whole(expires_at)
        except Exception as error:
            # Unpickling and the serializers of users may raise anything.
            raise BadPayload("The payload cannot be read.") from error
        return state, data
