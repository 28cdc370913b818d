"""
What several replicas say, brought together. No I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..contract import Merge
from ..record import Record
from .node import Node


class Held(NamedTuple):
    """
    What one replica answered: its cas token (0: it has nothing) and what could be read of it.

    skew: by how many seconds the server says that the record lives longer than its writer's clock
    made this process believe. ttl: for how many seconds more the server keeps it.
    """

    node: Node
    cas: int
    record: Record | None
    skew: int = 0
    ttl: int = 0

    def differs_from(self, agreed: Record) -> bool:
        """
        Whether this replica has to be written to. Damage leaves the version as it was.
        """
        return (
            self.record is None
            or not _are_same(self.record, agreed)
            or self.record.retain_until < agreed.retain_until
        )


def agree(storage_id: str, held: Sequence[Held], merge: Merge) -> Record | None:
    """
    Return the one record that all replicas are to hold; None if nothing can be read of any.
    """
    records = [copy.record for copy in held if copy.record is not None]
    if not records:
        return None
    first = records[0]
    if all(_are_same(first, record) for record in records[1:]):
        return max(records, key=lambda record: (record.retain_until, -record.expires_at))
    # Until when a copy that some other server slept with may live.
    longest = max(record.retention_deadline for record in records)
    ended = [record for record in records if record.ended]
    if ended:
        return max(ended, key=lambda record: record.expires_at).retained_until(longest)
    merged = merge(storage_id, records)
    if merged is None:
        return None
    same = [record for record in records if record.version == merged.version]
    if same and all(record.payload == same[0].payload for record in same):
        # One copy had it all: its very bytes are kept, and its holders need no write.
        return min(same, key=lambda record: record.expires_at).retained_until(longest)
    return merged._replace(
        expires_at=merged.expires_at + max(copy.skew for copy in held),
        # Whether the store behind this one knows all of it, nobody has checked yet.
        unsynced=any(record.unsynced for record in records),
    )


def _are_same(one: Record, other: Record) -> bool:
    return one is other or (one.version == other.version and one.payload == other.payload)
