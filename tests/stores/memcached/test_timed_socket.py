from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from django_distsession.stores.deadline import Deadline
from django_distsession.stores.memcached.timed_socket import TimedSocket


class Time:
    """
    A monotonic clock that stands still.
    """

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def ends(clock: Time) -> Iterator[tuple[TimedSocket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield TimedSocket(one, Deadline(5.0, clock)), other


def test_each_call_may_take_what_is_left(
    clock: Time, ends: tuple[TimedSocket, socket.socket]
) -> None:
    timed, other = ends
    other.sendall(b"one two")
    assert timed.recv(3) == b"one"
    assert timed.raw.gettimeout() == 5.0
    clock.now += 2.0
    assert timed.recv(4) == b" two"
    assert timed.raw.gettimeout() == 3.0
    clock.now += 3.0
    with pytest.raises(TimeoutError):
        timed.recv(1)
    with pytest.raises(TimeoutError):
        timed.sendall(b"x")


def test_it_is_given_more_time(clock: Time, ends: tuple[TimedSocket, socket.socket]) -> None:
    timed, other = ends
    clock.now += 10.0
    timed.give(1.5)
    timed.sendall(b"x")
    assert other.recv(10) == b"x"
    assert timed.time_out == timed.raw.gettimeout() == 1.5


def test_what_does_not_go_at_once_goes_in_parts(
    ends: tuple[TimedSocket, socket.socket],
) -> None:
    class Narrow:
        """
        Takes three bytes at a time.
        """

        def __init__(self, real: socket.socket) -> None:
            self.real = real
            self.settimeout = real.settimeout

        def send(self, data: memoryview) -> int:
            return self.real.send(data[:3])

    timed, other = ends
    timed.raw = Narrow(timed.raw)  # type: ignore[assignment]
    timed.sendall(b"0123456789")
    assert other.recv(100) == b"0123456789"
