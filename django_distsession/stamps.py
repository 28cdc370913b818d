"""
Lamport timestamps of saves, and the one of each key.
"""

from __future__ import annotations

import re
import struct
from collections.abc import (
    Collection,
    Iterable,
    Iterator,
    Mapping,
    MutableSequence,
    Sequence,
)
from itertools import chain, starmap
from typing import Any, NamedTuple

# Generation and tag.
TAG_SIZE = 8
PACKED = struct.Struct(f"!Q{TAG_SIZE}s")
SIZE = PACKED.size
ROW = struct.Struct(f"{SIZE}s")

# The largest integer that CouchDB's JavaScript keeps exact. No generation and no time is higher.
LARGEST = 2**53 - 1

# Tags are URL-safe base64. "+" is not in that alphabet and sorts below all of it: it marks tags
# that have to lose against those of saves.
LOW = "+"
LOWEST_TAG = LOW * TAG_SIZE
is_tag = re.compile(r"[A-Za-z0-9_+-]{8}").fullmatch


def whole(value: Any, most: int = LARGEST) -> int:
    """
    Return a number that a store holds as an integer from 0 to `most`; else `ValueError`.

    Whoever writes JSON again may make fractions of integers: 1.0 is one.
    """
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("A number in a record is out of range, or none.")
    return value


class Stamp(NamedTuple):
    """
    A Lamport timestamp: higher than those of all saves that this one had seen.

    generation: one more than the highest that the save had seen.
    tag: 8 random characters, so that two saves of one generation differ and have an order.
    """

    generation: int
    tag: str

    @classmethod
    def stored(cls, generation: Any, tag: Any) -> Stamp:
        """
        Return one that a store holds. `ValueError` if no save can have made it.
        """
        generation = whole(generation)
        if type(tag) is not str or not is_tag(tag):
            raise ValueError("A tag in a record is not 8 characters of base64.")
        return cls(generation, tag)

    def packed(self) -> bytes:
        """
        Return it as `SIZE` bytes. `ValueError` if the tag is longer than tags are.
        """
        tag = self.tag.encode()
        if len(tag) > TAG_SIZE:
            raise ValueError(f"A tag is too long: {self.tag}")
        return PACKED.pack(self.generation, tag)

    @classmethod
    def unpacked(cls, packed: bytes, row: int = 0) -> Stamp:
        """
        Return the one in this row of a table of packed ones.
        """
        return _stamp(*PACKED.unpack_from(packed, row * SIZE))


def _stamp(generation: int, tag: bytes) -> Stamp:
    return Stamp(generation, tag.rstrip(b"\0").decode())


NEVER = Stamp(0, LOWEST_TAG)

# A row's number nearly always fits in a byte: it is 0 to 254. 255 stands for the row that `after`
# has yet to choose.
MOST_IN_A_BYTE = 2**8 - 1
WIDE_BYTES = 4

# The stamps of this many latest saves are kept, even if no key has them any more: a save with an
# unknown outcome looks for its own.
HISTORY = 4

# This many unused rows are no reason yet to rebuild the table.
FEW = 2 * HISTORY


class Stamps(Mapping[Any, Stamp]):
    """
    For each key the stamp of the save that wrote it, packed as it travels.

    Few saves write a typical session's keys, so each stamp is kept once. packed: a table of stamps,
    those of the latest `HISTORY` saves among them; then for each key, in order, the row in which
    its own stands; then the row of the latest save's, which may have written no key (a state that
    is no merge has it in its version too). wide: whether a row's number takes four bytes instead of
    one.

    Equal to a mapping of the same stamps, and to other `Stamps` that know of the same saves.
    """

    __slots__ = ("_by_key", "_keys", "packed", "wide")

    def __init__(self, keys: Collection[Any], packed: bytes, wide: bool = False) -> None:
        self._keys = keys
        self.packed = packed
        self.wide = wide
        self._by_key: dict[Any, Stamp] | None = None

    @classmethod
    def of(cls, saved: Stamp, stamps: Mapping[Any, Stamp], recent: Iterable[Stamp] = ()) -> Stamps:
        """
        Return the same stamps in this form. saved: that of the latest save. recent: of others.
        """
        row_of = {saved: 0}
        rows = [row_of.setdefault(stamp, len(row_of)) for stamp in stamps.values()]
        for stamp in _latest({saved, *recent}):
            row_of.setdefault(stamp, len(row_of))
        table = b"".join([stamp.packed() for stamp in row_of])
        return _joined(list(stamps), table, rows, 0)

    @property
    def latest(self) -> Stamp:
        """
        The stamp of the latest save.
        """
        table, _, row = self._split()
        return Stamp.unpacked(table, row)

    @property
    def recent(self) -> list[Stamp]:
        """
        The stamps of the latest `HISTORY` saves, the latest last.

        What is in the table beside them is older, so a merge of two such lists lacks nothing.
        """
        table, _, _ = self._split()
        return _latest(starmap(_stamp, PACKED.iter_unpack(table)))

    def after(self, saved: Stamp, keys: Collection[Any], changed: Collection[Any]) -> Stamps:
        """
        Return the stamps of `keys` after a save that changed, or made, some of them.
        """
        table, rows, _ = self._split()
        # The keys that this save wrote have no row yet.
        nowhere = -1 if self.wide else MOST_IN_A_BYTE
        order = list(keys)
        if order != list(self._keys):
            known = dict(zip(self._keys, rows, strict=True))
            rows = [known.get(key, nowhere) for key in order]
        if len(changed) < FEW:
            for key in changed:
                rows[order.index(key)] = nowhere
        else:
            for position, key in enumerate(order):
                if key in changed:
                    rows[position] = nowhere
        # In place of the oldest stamp that no key has any more and that is not recent, if there is
        # one. Packed, they sort as they do unpacked.
        taken = {*rows} - {nowhere}
        stamps = [*chain.from_iterable(ROW.iter_unpack(table))]
        row = len(stamps)
        if row > len(taken):
            for unused in sorted(range(row), key=stamps.__getitem__)[: 1 - HISTORY]:
                if unused not in taken:
                    row = unused
                    break
        stamps[row : row + 1] = [saved.packed()]
        if isinstance(rows, bytearray):
            rows = rows.replace(bytes([nowhere]), bytes([row]))
        else:
            rows = [row if old == nowhere else old for old in rows]
        result = _joined(keys, b"".join(stamps), rows, row)
        is_mostly_unused = len(stamps) > 2 * len(taken) + FEW
        return Stamps.of(saved, dict(result), result.recent) if is_mostly_unused else result

    def in_order(self, positions: Sequence[int]) -> Stamps:
        """
        Return the same, as it is packed where the keys are read again in this order.
        """
        table, rows, latest = self._split()
        keys = list(self._keys)
        order = [keys[position] for position in positions]
        return _joined(order, table, [rows[position] for position in positions], latest)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Stamps) and self.packed != other.packed:
            return super().__eq__(other) and self.recent == other.recent
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, key: Any) -> Stamp:
        return self._unfolded()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def _unfolded(self) -> dict[Any, Stamp]:
        if self._by_key is None:
            table, rows, _ = self._split()
            stamps = list(starmap(_stamp, PACKED.iter_unpack(table)))
            self._by_key = dict(zip(self._keys, map(stamps.__getitem__, rows), strict=True))
        return self._by_key

    def _split(self) -> tuple[bytes, MutableSequence[int], int]:
        packed, count = self.packed, len(self._keys) + 1
        if self.wide:
            end = len(packed) - WIDE_BYTES * count
            *wide_rows, latest = struct.unpack(f"!{count}I", packed[end:])
            return packed[:end], wide_rows, latest
        rows = bytearray(packed[-count:])
        latest = rows.pop()
        return packed[:-count], rows, latest


def _latest(stamps: Iterable[Stamp]) -> list[Stamp]:
    return sorted(stamps)[-HISTORY:]


def _joined(keys: Collection[Any], table: bytes, rows: Sequence[int], latest: int) -> Stamps:
    if len(table) <= MOST_IN_A_BYTE * SIZE:
        return Stamps(keys, b"%b%b%c" % (table, bytes(rows), latest))
    return Stamps(keys, table + struct.pack(f"!{len(rows) + 1}I", *rows, latest), wide=True)
