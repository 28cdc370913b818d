from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from django_distsession.stores import dialing
from django_distsession.stores.deadline import Deadline
from django_distsession.stores.dialing import Address, LookUps

SOON = 10.0
FOUND: list[Address] = [(socket.AF_INET, ("127.0.0.1", 11211))]


class Resolver:
    """
    Answers when the test says so.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.answers = threading.Event()
        self.error: Exception | None = None

    def __call__(self, host: str, port: int) -> list[Address]:
        self.asked += 1
        assert self.answers.wait(SOON)
        if self.error is not None:
            raise self.error
        return FOUND


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    one = Resolver()
    yield one
    one.answers.set()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_address_or_a_name(listener: socket.socket, host: str) -> None:
    with dialing.dial(host, listener.getsockname()[1], Deadline(SOON)) as connection:
        assert connection.getpeername() == listener.getsockname()
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_next_address_is_tried(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = closed.getsockname()
    addresses = [(socket.AF_INET, refusing), (socket.AF_INET, listener.getsockname())]
    monkeypatch.setattr(dialing, "look_up", lambda *args: addresses)
    with dialing.dial("two", 1, Deadline(SOON)) as connection:
        assert connection.getpeername() == listener.getsockname()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        dialing.dial("127.0.0.1", port, Deadline(SOON))


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(OSError, match="cannot be looked up"):
        dialing.dial("a..b", 1, Deadline(SOON))


def test_when_the_time_is_over_nobody_connects(listener: socket.socket) -> None:
    with pytest.raises(TimeoutError):
        dialing.dial("127.0.0.1", listener.getsockname()[1], Deadline(0))


def test_a_look_up_that_takes_too_long(resolver: Resolver) -> None:
    look_ups = LookUps(resolver)
    with pytest.raises(TimeoutError, match="look-up"):
        look_ups.find("slow", 1, Deadline(0.05))
    resolver.answers.set()
    # It is not waited for again.
    assert look_ups.find("slow", 1, Deadline(SOON)) == FOUND
    assert resolver.asked == 2


def test_those_who_ask_at_once_share_a_look_up(resolver: Resolver) -> None:
    look_ups = LookUps(resolver)
    with ThreadPoolExecutor(8) as threads:
        asking = [threads.submit(look_ups.find, "name", 1, Deadline(SOON)) for _ in range(8)]
        while not any(len(one.waiting) == 8 for one in list(look_ups._running.values())):
            assert not any(one.done() for one in asking)
        resolver.answers.set()
        assert [one.result() for one in asking] == [FOUND] * 8
    assert resolver.asked == 1
    assert not look_ups._running


def test_a_look_up_that_fails(resolver: Resolver) -> None:
    look_ups = LookUps(resolver)
    resolver.error = socket.gaierror(-2, "Name or service not known")
    resolver.answers.set()
    with pytest.raises(socket.gaierror, match="not known"):
        look_ups.find("name", 1, Deadline(SOON))
    assert not look_ups._running


def test_a_forked_child_looks_up_for_itself(resolver: Resolver) -> None:
    look_ups = LookUps(resolver)
    with pytest.raises(TimeoutError):
        look_ups.find("name", 1, Deadline(0))
    look_ups._running["name", 1] = dialing._LookUp()
    child = os.fork()
    if not child:
        resolver.answers.set()
        os._exit(0 if look_ups.find("name", 1, Deadline(SOON)) == FOUND else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("silent", [0, 1])
def test_an_address_that_refuses_does_not_speak_for_one_that_is_silent(
    monkeypatch: pytest.MonkeyPatch, silent: int
) -> None:
    def connect(family: int, address: int, *how: object) -> socket.socket:
        raise TimeoutError if address == silent else ConnectionRefusedError

    monkeypatch.setattr(dialing, "look_up", lambda *args: [(0, 0), (0, 1)])
    monkeypatch.setattr(dialing, "connect", connect)
    with pytest.raises(TimeoutError):
        dialing.dial("two", 1, Deadline(SOON))
