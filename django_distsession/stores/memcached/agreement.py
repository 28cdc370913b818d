"""
What one replica says.
"""

from __future__ import annotations

from typing import NamedTuple

from ..reconcile import are_same
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
            or not are_same(self.record, agreed)
            or self.record.retain_until < agreed.retain_until
        )
