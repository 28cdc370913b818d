"""
Compression of large payloads.
"""

from __future__ import annotations

import zlib

from .exceptions import RecordTooLarge

# Below this, zlib takes as long as a round trip to memcached, and saves next to nothing.
COMPRESS_FROM = 4096

# Against decompression bombs: zlib compresses zeros a thousandfold. Eight times the size of a
# document that CouchDB takes by default, and more than a request can transfer in time.
MOST_BYTES = 64 * 1024 * 1024


def deflate(data: bytes) -> bytes:
    """
    Compress. `RecordTooLarge` if `inflate` would refuse the result.
    """
    if len(data) > MOST_BYTES:
        raise RecordTooLarge(len(data), MOST_BYTES, "django-distsession")
    return zlib.compress(data)


def inflate(data: bytes) -> bytes:
    """
    Decompress. `ValueError` or `zlib.error` if `deflate` cannot have made this.
    """
    inflater = zlib.decompressobj()
    result = inflater.decompress(data, MOST_BYTES)
    if not inflater.eof:
        raise ValueError("Compressed data is cut short, or too long when it is unpacked.")
    return result
