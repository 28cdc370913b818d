"""
A state's stamps in a form small enough to carry along.

Layout: `Stamps.packed`, the stamp of the last `clear` if there was one, and those of the removed
keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .stamps import NEVER, SIZE, Stamp, Stamps
from .state import NOTHING, State

# Whether a state was merged, whether it was ever cleared, and `Stamps.wide`.
MERGED, CLEARED, WIDE = 2, 4, 8


def pack_stamps(state: State) -> tuple[int, bytes]:
    """
    Return flags and bytes.
    """
    stamps = state.stamps
    flags, packed = MERGED * state.merged | WIDE * stamps.wide, stamps.packed
    if state.cleared != NEVER:
        flags |= CLEARED
        packed += state.cleared.packed()
    if state.removed:
        packed += b"".join([stamp.packed() for stamp in state.removed.values()])
    return flags, packed


def unpack_stamps(
    flags: int,
    packed: bytes,
    values: Mapping[Any, Any],
    numbers: Mapping[Any, int],
) -> tuple[Stamps, Mapping[Any, Stamp], Stamp]:
    """
    Return the stamps of a state's values and of its removed keys, and that of the last `clear`.

    numbers: by removed key, which one of their stamps is its own.
    """
    removed: Mapping[Any, Stamp] = NOTHING
    cleared = NEVER
    if numbers:
        end = len(packed) - SIZE * len(numbers)
        packed, rest = packed[:end], packed[end:]
        removed = {key: Stamp.unpacked(rest, number) for key, number in numbers.items()}
    if flags & CLEARED:
        packed, cleared = packed[:-SIZE], Stamp.unpacked(packed[-SIZE:])
    return Stamps(values, packed, flags & WIDE != 0), removed, cleared
