"""
Serializers: session dicts as bytes.
"""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

from django.contrib.sessions.serializers import JSONSerializer

# Kept, since `json.dumps` makes a new encoder for each call that sets separators.
to_json = json.JSONEncoder(separators=(",", ":")).encode
from_json = json.JSONDecoder().decode


class Serializer(Protocol):
    """
    The interface of what `SESSION_SERIALIZER` names.
    """

    def dumps(self, obj: Any) -> bytes: ...

    def loads(self, data: bytes) -> Any: ...


class QuickJSONSerializer(JSONSerializer):
    """
    Django's `JSONSerializer`, with an encoder and a decoder that are made once.
    """

    def dumps(self, obj: Any) -> bytes:
        return to_json(obj).encode("latin-1")

    def loads(self, data: bytes) -> Any:
        return from_json(data.decode("latin-1"))


# NaN and infinity are not JSON.
to_strict_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

# CouchDB fails on integers beyond the range of floats, which have at least this many digits.
has_many_digits = re.compile("[0-9]{309}").search
check_integers = json.JSONDecoder(parse_int=lambda digits: float(int(digits))).decode

# CouchDB refuses lone surrogates, which a visitor can send. They are escaped as a noncharacter,
# which has no meaning in text, and their code point; so is that noncharacter itself.
MARK = r"\ufdd0"
unwritable = re.compile(
    r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|\\u(d[89a-f][0-9a-f]{2}|fdd0)|\\."
)
marked = re.compile(r"\\ufdd0([0-9a-f]{4})|\\.")


class PortableJSONSerializer(QuickJSONSerializer):
    """
    JSON that survives a round trip through CouchDB, but for -0.0 and the like.

    NaN, infinity and integers beyond the range of floats are a `TypeError`.
    """

    def dumps(self, obj: Any) -> bytes:
        try:
            text = to_strict_json(obj)
            if has_many_digits(text):
                check_integers(text)
        except (ValueError, OverflowError) as error:
            raise TypeError(
                "A session holds what is no JSON: NaN, infinity, an integer beyond the range of "
                "floats, or a value that holds itself."
            ) from error
        if r"\ud" in text or MARK in text:
            text = unwritable.sub(_mark, text)
        return text.encode("ascii")

    def loads(self, data: bytes) -> Any:
        text = data.decode()
        if MARK in text:
            text = marked.sub(_unmark, text)
        return from_json(text)


def _mark(found: re.Match[str]) -> str:
    return f"{MARK}{found[1]}" if found[1] else found[0]


def _unmark(found: re.Match[str]) -> str:
    return rf"\u{found[1]}" if found[1] else found[0]
