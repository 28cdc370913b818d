"""
Connecting to a server by a deadline, the look-up of its name included.

`getaddrinfo` knows no time-out. So names are looked up on a thread of their own, of which there is
one for each name at a time; addresses need none.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

from . import forking
from .deadline import Deadline
from .sleeper import Sleeper
from .threads import in_thread

# What `socket.socket` and `connect` take.
Address = tuple[int, Any]


def dial(
    host: str, port: int, deadline: Deadline, tls: ssl.SSLContext | None = None
) -> socket.socket:
    """
    Return a TCP connection to the first of a host's addresses that takes one, with TLS if there is
    a context for it. `OSError` if none does, `TimeoutError` if that took too long.
    """
    connection = _connect_to_any(host, port, deadline, tls)
    if isinstance(connection, ssl.SSLSocket):
        try:
            connection.settimeout(deadline.require())
            connection.do_handshake()
        except BaseException:
            connection.close()
            raise
    return connection


def _connect_to_any(
    host: str, port: int, deadline: Deadline, tls: ssl.SSLContext | None
) -> socket.socket:
    addresses = look_up(host, port, deadline)
    error: OSError | None = None
    for number, (family, address) in enumerate(addresses):
        try:
            return connect(family, address, deadline.share(len(addresses) - number), tls, host)
        except OSError as failure:
            # That one address refuses does not tell that a silent one is gone, too.
            if not isinstance(error, TimeoutError):
                error = failure
    raise error or OSError("The server's name has no address.")


def connect(
    family: int,
    address: Any,
    deadline: Deadline,
    tls: ssl.SSLContext | None = None,
    host: str | None = None,
) -> socket.socket:
    """
    Return a connection to an address. With TLS, it has yet to shake hands; host: whose certificate
    is wanted.
    """
    connection = socket.socket(family, socket.SOCK_STREAM)
    if tls is not None:
        # Before it is connected: of one whose server hung up at once, `wrap_socket` forgets to
        # close what it has made.
        connection = tls.wrap_socket(
            connection, server_hostname=host, do_handshake_on_connect=False
        )
    try:
        connection.settimeout(deadline.require())
        connection.connect(address)
        if family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


def look_up(host: str, port: int, deadline: Deadline) -> list[Address]:
    """
    Return a host's addresses.
    """
    return _numeric(host, port) or _look_ups.find(host, port, deadline)


async def alook_up(host: str, port: int, deadline: Deadline) -> list[Address]:
    """
    Return a host's addresses, without blocking the event loop.
    """
    return _numeric(host, port) or await in_thread(_look_ups.find, host, port, deadline)


def _numeric(host: str, port: int) -> list[Address]:
    try:
        return _addresses(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        # A name.
        return []


def _addresses(host: str, port: int, flags: int = 0) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:
        # What can be no name, such as one with an empty label.
        raise OSError(f"The server's name cannot be looked up: {error}") from error
    return [(family, address) for family, _, _, _, address in found]


class _LookUp:
    """
    One that is under way, and whoever waits for it.
    """

    def __init__(self) -> None:
        self.found: list[Address] | None = None
        self.error: OSError | None = None
        self.waiting: list[Sleeper] = []

    def wait(self, deadline: Deadline) -> None:
        sleeper = Sleeper()
        self.waiting.append(sleeper)
        # What ended before it was in there wakes nobody.
        if self.found is None and self.error is None:
            sleeper.sleep(deadline.left)


class LookUps:
    """
    Those under way, by name and port. resolve: looks a name up, and takes as long as it likes.
    """

    def __init__(self, resolve: Callable[[str, int], list[Address]]) -> None:
        self._resolve = resolve
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Forget those whose threads are in another process.
        """
        self._running: dict[tuple[str, int], _LookUp] = {}

    def find(self, host: str, port: int, deadline: Deadline) -> list[Address]:
        """
        Return what one look-up found that was under way, or that this call began.
        """
        own = _LookUp()
        one = self._running.setdefault((host, port), own)
        if one is own:
            self._begin(host, port, own)
        one.wait(deadline)
        if one.error is not None:
            raise type(one.error)(*one.error.args)
        if one.found is None:
            # Whoever comes next does not join one that takes so long.
            self._end(host, port, one)
            raise TimeoutError("the look-up of the server's name timed out")
        return one.found

    def _begin(self, host: str, port: int, one: _LookUp) -> None:
        run = threading.Thread(
            target=self._run, args=(host, port, one), name="distsession-look-up", daemon=True
        )
        try:
            run.start()
        except BaseException:
            self._end(host, port, one)
            raise

    def _run(self, host: str, port: int, one: _LookUp) -> None:
        try:
            one.found = self._resolve(host, port)
        except OSError as error:
            one.error = error
        finally:
            self._end(host, port, one)
            for sleeper in list(one.waiting):
                sleeper.wake()

    def _end(self, host: str, port: int, one: _LookUp) -> None:
        if self._running.get((host, port)) is one:
            self._running.pop((host, port), None)


_look_ups = LookUps(_addresses)
