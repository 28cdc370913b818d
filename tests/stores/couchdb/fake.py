"""
An HTTP server that misbehaves on request, one scripted answer after another.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Self

STRUCT_LINGER = b"\x01\x00\x00\x00\x00\x00\x00\x00"


class Request(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: Any
    connection: int


# Gets the connection and the request; False closes the connection.
Answer = Callable[[socket.socket, Request], bool]


def reply(status: int, body: Any = None, **headers: str) -> Answer:
    """
    A well-formed reply. body: JSON, or bytes as they are.
    """
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw("\r\n".join([*lines, "", ""]).encode() + (b"" if status == 304 else content))


def raw(data: bytes, *, close: bool = False) -> Answer:
    def answer(connection: socket.socket, request: Request) -> bool:
        connection.sendall(data)
        return not close

    return answer


def reset(connection: socket.socket, request: Request) -> bool:
    """
    Break the connection instead of answering.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, STRUCT_LINGER)
    return False


class _AcceptedSocket(ssl.SSLSocket):
    """
    Closed also where `ssl` forgets to: when the client has hung up before the handshake begins.
    """

    def __del__(self) -> None:
        self.close()


class FakeServer:
    """
    Answers by its script, then by `default`. Keeps all requests.

    Apart from these, it answers to its address as `welcome` says, and to the probes of watchers by
    `default`, and keeps the probes.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.script: list[Answer] = []
        self.default: Answer = reply(500, {"error": "script", "reason": "over"})
        self.welcome: Answer = reply(200, {"couchdb": "Welcome"})
        self.requests: list[Request] = []
        self.probes: list[Request] = []
        self.released = threading.Event()
        self.read_bodies = True
        self._tls = tls
        if tls:
            tls.sslsocket_class = _AcceptedSocket
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://user:p%40ss@127.0.0.1:{self.port}"
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._closed = False

    def hang(self, connection: socket.socket, request: Request) -> bool:
        """
        An answer that does not come before the server is closed.
        """
        self.released.wait()
        return False

    def trickle(self, connection: socket.socket, request: Request) -> bool:
        """
        An answer of which a byte comes now and then.
        """
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        try:
            while not self.released.wait(0.02):
                connection.sendall(b" ")
        except OSError:
            pass
        return False

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.target}" for request in self.requests]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.released.set()
        if self._closed:
            return
        self._closed = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            number = len(self._connections)
            thread = threading.Thread(target=self._serve, args=(connection, number))
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket, number: int) -> None:
        connection = plain
        try:
            if self._tls:
                # The handshake may wait for a client that says nothing.
                plain.settimeout(5)
                connection = self._tls.wrap_socket(plain, server_side=True)
                connection.settimeout(None)
                self._connections.append(connection)
            with connection, connection.makefile("rb") as reader:
                while (request := self._read(reader, number)) is not None:
                    if not self._answer_to(request)(connection, request):
                        return
        except OSError:
            return
        finally:
            plain.close()

    def _answer_to(self, request: Request) -> Answer:
        if request.target.endswith("/distsession-probe"):
            self.probes.append(request)
            return self.default
        if request.target == "/":
            return self.welcome
        self.requests.append(request)
        return self.script.pop(0) if self.script else self.default

    def _read(self, reader: Any, number: int) -> Request | None:
        line = reader.readline().decode()
        if not line.endswith("\n"):
            # The client gave up, perhaps in the middle of it.
            return None
        method, target, _ = line.split(" ", 2)
        headers = {}
        while (line := reader.readline().decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        body = reader.read(length) if self.read_bodies else b""
        if self.read_bodies and len(body) < length:
            return None
        return Request(method, target, headers, json.loads(body) if body else None, number)
