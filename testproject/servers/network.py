"""
The thread in which links forward what clients and servers send.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

Call = Callable[[], None]


class Network:
    """
    A loop in a thread of its own. What belongs to it is used in that thread alone.
    """

    def __init__(self) -> None:
        # Each registered socket comes with a function that is told what it is ready for.
        self.selector = selectors.DefaultSelector()
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        # When, a number that keeps the order among equals, and what to do.
        self._timers: list[tuple[float, int, Call]] = []
        self._numbers = itertools.count()
        self._waker, self._wakened = socket.socketpair()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="links", daemon=True)
        self.on_close: list[Call] = []

    def do(self, call: Call) -> None:
        """
        Call a function in the thread, and return when it has returned.
        """
        done = threading.Event()

        def call_and_tell() -> None:
            try:
                call()
            finally:
                done.set()

        self._calls.put(call_and_tell)
        self._waker.send(b".")
        done.wait()

    def at(self, due: float, call: Call) -> None:
        """
        Call a function when `time.monotonic` has got there. For use in the thread.
        """
        heapq.heappush(self._timers, (due, next(self._numbers), call))

    def __enter__(self) -> Self:
        self.selector.register(self._wakened, selectors.EVENT_READ, self._make_calls)
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for close in self.on_close:
            self.do(close)
        self.do(self._stop)
        self._thread.join()
        self.selector.close()
        self._waker.close()
        self._wakened.close()

    def _stop(self) -> None:
        self._stopped = True

    def _run(self) -> None:
        while not self._stopped:
            wait = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            for key, events in self.selector.select(wait):
                # What came before it in this round may have closed it.
                if key.fd in self.selector.get_map():
                    key.data(events)
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()

    def _make_calls(self, _: int) -> None:
        self._wakened.recv(100)
        with suppress(queue.Empty):
            while True:
                self._calls.get_nowait()()
