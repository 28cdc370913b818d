"""
Sharing a read among all who ask for the same at the same time, in one process.

A reader never joins a read that began before it asked: a write may have been acknowledged in
between, which the reader must see. It waits for that one to end, and shares the next with all who
waited likewise. So however many ask at once, there are two reads, and mostly the second finds in
the cache what the first put there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ...exceptions import StoreUnavailable
from .. import forking

T = TypeVar("T")


class _Flight(Generic[T]):
    """
    One read. results: its result, if it got that far. next: the read of those who wait for it.
    """

    __slots__ = ("error", "landed", "next", "results")

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.results: list[T] = []
        self.error: StoreUnavailable | None = None
        self.next: _Flight[T] | None = None


class Flights(Generic[T]):
    """
    The reads under way, by key.
    """

    def __init__(self) -> None:
        forking.begin(self)

    def start_anew(self) -> None:
        """
        Forget all reads: the threads that would end them may be in another process.
        """
        self._lock = threading.Lock()
        self._running: dict[str, _Flight[T]] = {}

    def share(self, key: str, first: Callable[[], T], later: Callable[[], T]) -> T:
        """
        Return what a read of `key` returns that began after this call did.

        first: how to read where nobody is reading. later: how to read after waiting for others.
        `StoreUnavailable` is shared too. Whatever else a read raises concerns who made it; the
        others try again.
        """
        while True:
            flight, before, leads = self._board(key)
            if leads:
                return self._lead(key, flight, before, first if before is None else later)
            flight.landed.wait()
            if flight.error is not None:
                raise type(flight.error)(*flight.error.args) from flight.error
            if flight.results:
                return flight.results[0]

    def _board(self, key: str) -> tuple[_Flight[T], _Flight[T] | None, bool]:
        with self._lock:
            running = self._running.get(key)
            if running is None:
                flight = self._running[key] = _Flight()
                return flight, None, True
            leads = running.next is None
            if running.next is None:
                running.next = _Flight()
            return running.next, running, leads

    def _lead(
        self, key: str, flight: _Flight[T], before: _Flight[T] | None, read: Callable[[], T]
    ) -> T:
        try:
            if before is not None:
                before.landed.wait()
            result = read()
        except StoreUnavailable as error:
            flight.error = error
            raise
        else:
            flight.results.append(result)
            return result
        finally:
            self._land(key, flight, before)

    def _land(self, key: str, flight: _Flight[T], before: _Flight[T] | None) -> None:
        with self._lock:
            if self._running.get(key) is flight:
                if flight.next is None:
                    del self._running[key]
                else:
                    self._running[key] = flight.next
            elif before is not None and before.next is flight:
                # Its leader was interrupted while it waited.
                before.next = None
        flight.landed.set()
