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
    """

    __slots__ = ("_time_out", "deadline", "raw")

    def __init__(self, raw: socket.socket, deadline: Deadline) -> None:
        self.raw = raw
        self.deadline = deadline
        self._time_out = -1.0

    def start(self, deadline: Deadline, left: float, data: bytes) -> None:
        """
        Send by a new deadline, to which so many seconds are left.
        """
        self.deadline = deadline
        # Nearly always it is as long as it was last time, and it takes a system call to set.
        if not 0 <= self._time_out - left < SLACK:
            self.raw.settimeout(max(left, 0.0))
            self._time_out = left
        sent = self.raw.send(data)
        if sent < len(data):
            self.sendall(memoryview(data)[sent:])

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
        self._time_out = self.deadline.require()
        self.raw.settimeout(self._time_out)

    def close(self) -> None:
        self.raw.close()
