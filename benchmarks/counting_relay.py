"""
A relay to a server that counts what passes.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK = 65536


class CountingRelay:
    """
    target: host and port of the server. sent, received: bytes, as the client sees it.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.sent = self.received = 0
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._target)
                for source, sink, counter in (
                    (client, server, "sent"),
                    (server, client, "received"),
                ):
                    threading.Thread(
                        target=self._pass_on, args=(source, sink, counter), daemon=True
                    ).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, counter: str) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                setattr(self, counter, getattr(self, counter) + len(data))
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
