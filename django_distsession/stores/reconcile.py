"""
The one rule by which copies of a session become one, wherever they come from: replicas, branches
of a document, a cache and the durable store behind it. No I/O, no clock.

Copies form a join-semilattice, and `reconcile` is its join: commutative, associative, idempotent
(Shapiro, Preguiça, Baquero, Zawirski: "Conflict-free replicated data types", 2011). Ended beats
live; what is live is merged key by key; and what comes out is retained for as long as any copy may
live, so that none of them can come back after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from .contract import Merge
from .record import Record


def reconcile(storage_id: str, copies: Sequence[Record], merge: Merge) -> Record | None:
    """
    Return the record that holds what all copies hold; None if there are none, or if not one of
    them can be decoded.

    Where one of the copies holds all of it, it is that one, byte for byte, so that its holder need
    not be written to.
    """
    if not copies:
        return None
    first = copies[0]
    if all(are_same(first, copy) for copy in copies):
        # Of what lives by several clocks, the one that was not corrected by any.
        return max(copies, key=lambda copy: (copy.retain_until, -copy.expires_at))
    deadline = max(copy.retention_deadline for copy in copies)
    ended = [copy for copy in copies if copy.ended]
    if ended:
        return max(ended, key=lambda copy: copy.expires_at).retained_until(deadline)
    merged = merge(storage_id, copies)
    if merged is None:
        return None
    same = [copy for copy in copies if copy.version == merged.version]
    if same and all(copy.payload == same[0].payload for copy in same):
        return min(same, key=lambda copy: copy.expires_at).retained_until(deadline)
    # Whether the store behind a cache knows all of it, nobody has checked yet.
    unsynced = any(copy.unsynced for copy in copies)
    return merged._replace(unsynced=unsynced).retained_until(deadline)


def are_same(one: Record, other: Record) -> bool:
    """
    Whether two copies hold the same. Damage leaves the version as it was.
    """
    return one is other or (one.version == other.version and one.payload == other.payload)
