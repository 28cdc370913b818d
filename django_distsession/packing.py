"""
A state's stamps in a form small enough to carry along.

Layout: the table of stamps, for each key which of them is its own, which is that of the latest
save, the stamp of the last `clear` if there was one, and those of the removed keys.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Collection, Mapping
from typing import Any

from .stamps import NEVER, SIZE, Slots, Stamp, Stamps
from .state import State

# What is to be known of a state beside: whether it was merged, whether it was ever cleared, and
# whether it takes four bytes instead of one to say which stamp is a key's own.
MERGED, CLEARED, WIDE = 2, 4, 8
WIDTH = 4


def pack_stamps(state: State, order: Collection[Any]) -> tuple[int, bytes]:
    """
    Return flags and bytes. order: the keys, in the order in which they will be read again.
    """
    stamps = Stamps.of(state.saved, state.stamps).in_order(order)
    table, slots = stamps.table, stamps.slots
    flags = MERGED * state.merged
    if isinstance(slots, array):
        flags |= WIDE
        packed = table + struct.pack(f"!{len(slots) + 1}I", *slots, stamps.latest)
    else:
        packed = table + bytes((*slots, stamps.latest))
    if state.cleared != NEVER:
        flags |= CLEARED
        packed += state.cleared.packed()
    for stamp in state.removed.values():
        packed += stamp.packed()
    return flags, packed


def unpack_stamps(
    flags: int,
    packed: bytes,
    values: Mapping[Any, Any],
    removed: Mapping[Any, int],
    created_at: int,
    expires_at: int,
) -> State:
    """
    Undo `pack_stamps`. removed: for each removed key, the number of its stamp.
    """
    end = len(packed) - SIZE * len(removed)
    forgotten = packed[end:]
    cleared = NEVER
    if flags & CLEARED:
        end -= SIZE
        cleared = Stamp.unpacked(packed[end : end + SIZE])
    width = WIDTH if flags & WIDE else 1
    begin = end - width * (len(values) + 1)
    slots: Slots = bytearray(packed[begin : end - width])
    latest = packed[end - 1]
    if flags & WIDE:
        *places, latest = struct.unpack(f"!{len(values) + 1}I", packed[begin:end])
        slots = array("I", places)
    table = packed[:begin]
    return State(
        values,
        Stamps(list(values), table, slots, latest),
        created_at,
        expires_at,
        Stamp.unpacked(table, latest),
        {key: Stamp.unpacked(forgotten, number) for key, number in removed.items()},
        cleared,
        merged=flags & MERGED != 0,
    )
