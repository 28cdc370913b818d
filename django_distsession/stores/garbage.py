"""
Garbage collection: how to go about it, and what it did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

BATCH_SIZE = 1000


@dataclass(slots=True)
class GCResult:
    """
    What a garbage collection did.

    seen: expired records that the index showed; purged: gone for good; deleted: replaced by the
    server's own deletion stub, where purging is not possible; skipped: changed meanwhile, or
    removed by another host.
    merged: live sessions whose diverged copies were brought together.
    passed_over: records that could not be worked with, or do not say when they expire; the log
    names them.
    total: how many there were to look at when it began.
    no_purge: why records were deleted and not purged.
    """

    seen: int = 0
    purged: int = 0
    deleted: int = 0
    skipped: int = 0
    merged: int = 0
    total: int = 0
    no_purge: str = ""
    passed_over: int = 0


@dataclass(frozen=True, slots=True)
class GCOptions:
    """
    How to collect garbage.

    batch_size: records at a time. limit: records at the most. max_seconds: no batch is begun later.
    dry_run: only count. progress: called after each batch with what was done so far.
    """

    batch_size: int = BATCH_SIZE
    limit: int | None = None
    max_seconds: float | None = None
    dry_run: bool = False
    progress: Callable[[GCResult], None] | None = None
