"""
A socket that is used by a deadline, whatever the server does.
"""

from __future__ import annotations

import socket

from ..deadline import Deadline

# By how much a call may wait too long, in seconds.
SLACK = 0.002


class TimedSocket:
    """
    What pymemcache uses of a socket, with a deadline.

    until: when that is, by the deadline's clock. time_out: what the socket was told last.
    """

    __slots__ = ("_clock", "raw", "time_out", "until")

    def __init__(self, raw: socket.socket, deadline: Deadline) -> None:
        self.raw = raw
        self.until = deadline.at
        self.time_out = -1.0
        self._clock = deadline.clock

    def recv(self, size: int) -> bytes:
        self.wait()
        return self.raw.recv(size)

    def sendall(self, data: bytes | memoryview) -> None:
        sent = 0
        while sent < len(data):
            self.wait()
            sent += self.raw.send(memoryview(data)[sent:])

    def wait(self) -> None:
        """
        Let the next call wait as long as time is left.
        """
        left = self.until - self._clock()
        if left <= 0:
            raise TimeoutError("timed out")
        self.set_time_out(left)

    def set_time_out(self, seconds: float) -> None:
        self.raw.settimeout(seconds)
        self.time_out = seconds

    def give(self, seconds: float) -> None:
        """
        Move the deadline: so many seconds from now.
        """
        self.until = self._clock() + seconds

    def close(self) -> None:
        self.raw.close()
