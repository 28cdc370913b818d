"""
Servers that are no memcached, or none that works, behind its port.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from testproject.servers.process import LOOPBACK

SETTINGS = b"STAT item_size_max 1048576\r\nEND\r\n"

# Given the verb of a request, and how its reply has to end, the reply.
Answer = Callable[[bytes, bytes], bytes]


@contextmanager
def impostor(answer: Answer, settings: bytes = SETTINGS) -> Iterator[str]:
    """
    Give the address of a server that answers so. settings: its reply to `stats settings`.
    """
    with socket.create_server((LOOPBACK, 0)) as listening:
        stopped = threading.Event()

        def accept() -> None:
            while True:
                connection, _ = listening.accept()
                if stopped.is_set():
                    connection.close()
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        def serve(connection: socket.socket) -> None:
            with suppress(OSError), connection, connection.makefile("rb") as requests:
                while line := requests.readline():
                    connection.sendall(reply(line.split(), requests))

        def reply(words: list[bytes], requests: BinaryIO) -> bytes:
            if words[0] == b"stats":
                return settings
            if words[0] == b"ms":
                requests.read(int(words[2]) + 2)
            return answer(words[0], b" k%b %b\r\n" % (words[1], words[-1]))

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"{LOOPBACK}:{listening.getsockname()[1]}"
        finally:
            stopped.set()
            socket.create_connection(listening.getsockname()).close()
            thread.join()
