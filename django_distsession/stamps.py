"""
When saves happened: Lamport time-stamps, and which of them wrote which key.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

# Generation and tag.
PACKED = struct.Struct("!Q8s")
SIZE = PACKED.size


class Stamp(NamedTuple):
    """
    A Lamport time: when a save happened, as far as the saves that it knew of are concerned.

    generation: one more than the highest that the save had seen.
    tag: 8 random characters, so that two saves of one generation differ and have an order.
    """

    generation: int
    tag: str

    def packed(self) -> bytes:
        """
        Return it as `SIZE` bytes.
        """
        return PACKED.pack(self[0], self[1].encode())

    @classmethod
    def unpacked(cls, packed: bytes, place: int = 0) -> Stamp:
        """
        Return the one that stands at this place among packed ones.
        """
        generation, tag = PACKED.unpack_from(packed, place * SIZE)
        return cls(generation, tag.rstrip(b"\0").decode())


NEVER = Stamp(0, "")

# For each key, where its stamp stands. Nearly always there are few enough for a byte each.
Slots: TypeAlias = "bytearray | array[int]"
# What stands for none, by the size of a slot.
NONE = {1: 2**8 - 1, 4: 2**32 - 1}


class Stamps(Mapping[Any, Stamp]):
    """
    For each key the stamp of the save that wrote it, as small as it travels.

    Few saves write a typical session's keys, so each stamp is kept once. order: the keys. table:
    the stamps, packed. slots: for each key, in order, where its stamp stands in the table. latest:
    where that of the latest save stands, whether or not it wrote a key.
    """

    __slots__ = ("_by_key", "latest", "order", "slots", "table")

    def __init__(self, order: Sequence[Any], table: bytes, slots: Slots, latest: int) -> None:
        self.order = order
        self.table = table
        self.slots = slots
        self.latest = latest
        self._by_key: dict[Any, Stamp] | None = None

    @classmethod
    def of(cls, saved: Stamp, stamps: Mapping[Any, Stamp]) -> Stamps:
        """
        Return the same stamps in this form. saved: that of the latest save.
        """
        if isinstance(stamps, cls):
            return stamps
        places = {saved: 0}
        slots = [places.setdefault(stamp, len(places)) for stamp in stamps.values()]
        table = b"".join([stamp.packed() for stamp in places])
        return cls(list(stamps), table, _as_slots(slots, len(places)), 0)

    def after(self, saved: Stamp, keys: Collection[Any], changed: Collection[Any]) -> Stamps:
        """
        Return the stamps of `keys` after a save that changed, or made, some of them.
        """
        order = list(keys)
        if order == self.order:
            slots, written = self.slots[:], [order.index(key) for key in changed]
        else:
            known = dict(zip(self.order, self.slots, strict=True))
            slots = _as_slots([known.get(key, 0) for key in order], len(self.table) // SIZE)
            written = [n for n, key in enumerate(order) if key in changed or key not in known]
        none = NONE[slots.itemsize if isinstance(slots, array) else 1]
        for position in written:
            slots[position] = none
        # In place of a stamp that no key has any more, if there is one.
        place, count = 0, len(self.table) // SIZE
        while place < count and place in slots:
            place += 1
        if place >= none:
            # A list, since the bytes of a bytearray would be taken for those of integers.
            slots = array("I", list(slots))
        for position in written:
            slots[position] = place
        at = place * SIZE
        table = self.table[:at] + saved.packed() + self.table[at + SIZE :]
        return Stamps(order, table, slots, place)

    def in_order(self, keys: Collection[Any]) -> Stamps:
        """
        Return the same, with the keys in this order.
        """
        order = list(keys)
        if order == self.order:
            return self
        known = dict(zip(self.order, self.slots, strict=True))
        slots = self.slots[:]
        for position, key in enumerate(order):
            slots[position] = known[key]
        return Stamps(order, self.table, slots, self.latest)

    def __getitem__(self, key: Any) -> Stamp:
        return self._unfolded()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.order)

    def __len__(self) -> int:
        return len(self.order)

    def _unfolded(self) -> dict[Any, Stamp]:
        if self._by_key is None:
            stamps = [Stamp(g, t.rstrip(b"\0").decode()) for g, t in PACKED.iter_unpack(self.table)]
            of_keys = map(stamps.__getitem__, self.slots)
            self._by_key = dict(zip(self.order, of_keys, strict=True))
        return self._by_key


def _as_slots(places: Sequence[int], count: int) -> Slots:
    return bytearray(places) if count < NONE[1] else array("I", places)
