"""
When saves happened: Lamport time-stamps, and which of them wrote which key.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, MutableSequence, Sequence
from typing import Any, NamedTuple

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

# Nearly always there are few enough stamps for a byte to say which one is meant.
MOST_IN_A_BYTE = 2**8 - 1
WIDE = 4


class Stamps(Mapping[Any, Stamp]):
    """
    For each key the stamp of the save that wrote it, packed as it travels.

    Few saves write a typical session's keys, so each stamp is kept once. packed: the stamps; then
    for each key, in order, at which place its own stands among them; then at which place that of
    the latest save stands, whether or not it wrote a key. wide: whether a place takes four bytes
    instead of one.
    """

    __slots__ = ("_by_key", "_keys", "packed", "wide")

    def __init__(self, keys: Collection[Any], packed: bytes, wide: bool = False) -> None:
        self._keys = keys
        self.packed = packed
        self.wide = wide
        self._by_key: dict[Any, Stamp] | None = None

    @classmethod
    def of(cls, saved: Stamp, stamps: Mapping[Any, Stamp]) -> Stamps:
        """
        Return the same stamps in this form. saved: that of the latest save.
        """
        place_of = {saved: 0}
        places = [place_of.setdefault(stamp, len(place_of)) for stamp in stamps.values()]
        table = b"".join([stamp.packed() for stamp in place_of])
        return _joined(list(stamps), table, places, 0)

    @property
    def latest(self) -> Stamp:
        """
        The stamp of the latest save.
        """
        table, _, place = self._split()
        return Stamp.unpacked(table, place)

    def after(self, saved: Stamp, keys: Collection[Any], changed: Collection[Any]) -> Stamps:
        """
        Return the stamps of `keys` after a save that changed, or made, some of them.
        """
        table, places, _ = self._split()
        order = list(keys)
        if order == list(self._keys):
            written = [order.index(key) for key in changed]
        else:
            known = dict(zip(self._keys, places, strict=True))
            places = [known.get(key, 0) for key in order]
            written = [n for n, key in enumerate(order) if key in changed or key not in known]
        nowhere = -1 if self.wide else MOST_IN_A_BYTE
        for position in written:
            places[position] = nowhere
        # In place of a stamp that no key has any more, if there is one.
        taken, place = {*places} - {nowhere}, 0
        while place in taken:
            place += 1
        for position in written:
            places[position] = place
        at = place * SIZE
        table = b"%b%b%b" % (table[:at], saved.packed(), table[at + SIZE :])
        return _joined(keys, table, places, place)

    def in_order(self, keys: Collection[Any]) -> Stamps:
        """
        Return the same, with the keys in this order.
        """
        order = list(keys)
        if order == list(self._keys):
            return self
        table, places, latest = self._split()
        known = dict(zip(self._keys, places, strict=True))
        return _joined(order, table, [known[key] for key in order], latest)

    def __getitem__(self, key: Any) -> Stamp:
        return self._unfolded()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def _unfolded(self) -> dict[Any, Stamp]:
        if self._by_key is None:
            table, places, _ = self._split()
            stamps = [Stamp(g, t.rstrip(b"\0").decode()) for g, t in PACKED.iter_unpack(table)]
            self._by_key = dict(zip(self._keys, map(stamps.__getitem__, places), strict=True))
        return self._by_key

    def _split(self) -> tuple[bytes, MutableSequence[int], int]:
        packed, count = self.packed, len(self._keys) + 1
        if self.wide:
            end = len(packed) - WIDE * count
            *wide_places, latest = struct.unpack(f"!{count}I", packed[end:])
            return packed[:end], wide_places, latest
        places = bytearray(packed[-count:])
        latest = places.pop()
        return packed[:-count], places, latest


def _joined(keys: Collection[Any], table: bytes, places: Sequence[int], latest: int) -> Stamps:
    if len(table) <= MOST_IN_A_BYTE * SIZE:
        return Stamps(keys, b"%b%b%c" % (table, bytes(places), latest))
    return Stamps(keys, table + struct.pack(f"!{len(places) + 1}I", *places, latest), wide=True)
