"""
Large payloads, smaller.
"""

from __future__ import annotations

import zlib

from .exceptions import RecordTooLarge

# Below this, zlib takes as long as the way to memcached and back, and saves next to nothing.
COMPRESS_FROM = 4096

# zlib makes a thousandth of zeros, so what a store holds says nothing of how much comes out. This
# is eight times what CouchDB takes as one document, and more than requests can read and write.
MOST_BYTES = 64 * 1024 * 1024


def deflate(data: bytes) -> bytes:
    """
    Return `data` compressed. `RecordTooLarge` if `inflate` would not give it back.
    """
    if len(data) > MOST_BYTES:
        raise RecordTooLarge(len(data), MOST_BYTES, "django-distsession")
    return zlib.compress(data)


def inflate(data: bytes) -> bytes:
    """
    Undo `deflate`. `ValueError` or `zlib.error` if it cannot have made this.
    """
    inflater = zlib.decompressobj()
    result = inflater.decompress(data, MOST_BYTES)
    if not inflater.eof:
        raise ValueError("Compressed data is cut short, or too long when it is unpacked.")
    return result
