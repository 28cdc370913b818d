"""
Records that were read a moment ago, by revision: what conditional reads compare with.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

from .. import forking
from ..contract import Versioned

# What a record takes beside its payload, roughly.
OVERHEAD = 1000


class Known(NamedTuple):
    """
    found: a record and its token, one revision. validated_at: when all branches were last read.
    """

    found: Versioned
    validated_at: float


class Recent:
    """
    Holds the records used last: at most so many, and at most so many bytes. Safe between threads
    and across `fork`.
    """

    def __init__(self, entries: int, size: int) -> None:
        self._entries = entries
        self._size = size
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Remember nothing: another thread may have been changing it when the process forked.
        """
        self._used = 0
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, storage_id: str) -> Known | None:
        with self._lock:
            known = self._known.get(storage_id)
            if known is not None:
                self._known.move_to_end(storage_id)
            return known

    def put(self, storage_id: str, known: Known) -> None:
        """
        Remember a record, and forget others that have not been used for longest.
        """
        size = _size(known)
        with self._lock:
            self._drop(storage_id)
            if size > self._size:
                return
            self._known[storage_id] = known
            self._used += size
            while self._used > self._size or len(self._known) > self._entries:
                self._drop(next(iter(self._known)))

    def forget(self, storage_id: str) -> None:
        with self._lock:
            self._drop(storage_id)

    def _drop(self, storage_id: str) -> None:
        known = self._known.pop(storage_id, None)
        if known is not None:
            self._used -= _size(known)

    @property
    def usage(self) -> tuple[int, int]:
        with self._lock:
            return len(self._known), self._used


def _size(known: Known) -> int:
    return len(known.found.record.payload) + OVERHEAD
