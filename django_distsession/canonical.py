"""
Parts joined into one message that can be taken apart in one way only.

Whatever is signed, encrypted or hashed here goes through `encode`. Joined by nothing, or by a
separator that a part may hold itself, bytes could be moved from one part to the next, and the
message would be the same.
"""

from __future__ import annotations

import struct

_length = struct.Struct("!Q").pack


def encode(*parts: bytes) -> bytes:
    """
    Return the parts, each preceded by its length in 8 bytes.

    So `encode(a, b) == encode(a) + encode(b)`, and no other parts make the same bytes.
    """
    joined = b""
    for part in parts:
        # For the few parts that there are, faster than a list.
        joined += _length(len(part)) + part
    return joined
