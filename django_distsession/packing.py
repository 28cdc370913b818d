"""
A compact binary encoding of a state's stamps.

Layout: `Stamps.packed`, then, as far as there are any: those of `State.unseen` and their number,
the stamp of the last `clear`, and those of the removed keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .stamps import NEVER, SIZE, Stamp, Stamps
from .state import NOTHING, State

# Flags: `State.merged`; there is a `State.cleared`; `Stamps.wide`; there are `State.unseen`.
MERGED, CLEARED, WIDE, UNSEEN = 2, 4, 8, 16


def pack_stamps(state: State) -> tuple[int, bytes]:
    """
    Return the flags and the encoded stamps.
    """
    stamps = state.stamps
    flags, packed = MERGED * state.merged | WIDE * stamps.wide, stamps.packed
    if state.unseen:
        flags |= UNSEEN
        packed += b"".join([stamp.packed() for stamp in state.unseen]) + bytes([len(state.unseen)])
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
) -> tuple[Stamps, Mapping[Any, Stamp], Stamp, tuple[Stamp, ...]]:
    """
    Return the stamps of a state's values and of its removed keys, that of the last `clear`, and
    those of `State.unseen`.

    numbers: for each removed key, the position of its stamp among theirs.
    """
    removed: Mapping[Any, Stamp] = NOTHING
    cleared = NEVER
    unseen: tuple[Stamp, ...] = ()
    if numbers:
        end = len(packed) - SIZE * len(numbers)
        packed, rest = packed[:end], packed[end:]
        removed = {key: Stamp.unpacked(rest, number) for key, number in numbers.items()}
    if flags & CLEARED:
        packed, cleared = packed[:-SIZE], Stamp.unpacked(packed[-SIZE:])
    if flags & UNSEEN:
        count = packed[-1]
        end = len(packed) - SIZE * count - 1
        packed, rest = packed[:end], packed[end:]
        unseen = tuple(Stamp.unpacked(rest, number) for number in range(count))
    return Stamps(values, packed, flags & WIDE != 0), removed, cleared, unseen
