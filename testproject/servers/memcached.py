"""
memcached nodes.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from testproject.servers.base import ServerUnavailable
from testproject.servers.process import LOOPBACK, ServerProcess

CONNECT_TIMEOUT = 1.0


class MemcachedNode(ServerProcess):
    name = "memcached"

    def __init__(self, options: Sequence[str] = (), port: int | None = None) -> None:
        super().__init__(port)
        self.options = list(options)

    def command(self, folder: Path) -> Sequence[str]:
        program = shutil.which("memcached")
        if program is None:
            raise ServerUnavailable(
                "memcached is not installed. Install it: `apt-get install memcached` on Debian "
                "and Ubuntu, `brew install memcached` on macOS."
            )
        # memcached refuses to run as root unless told so. Another user would not do: a process
        # that changes its user no longer dies with its parent.
        user = ["-u", "root"] if os.geteuid() == 0 else []
        return [program, "-l", LOOPBACK, "-p", str(self.port), "-U", "0", *user, *self.options]

    def stop(self) -> None:
        # memcached has nothing to write, and takes a second to act on a gentler signal.
        self.kill()

    def answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), CONNECT_TIMEOUT) as connection:
                connection.sendall(b"stats\r\n")
                with connection.makefile("rb") as replies:
                    reply = replies.readline()
        except OSError:
            return False
        # A node that asks for a password tells strangers nothing, but it does answer.
        return reply == b"STAT pid %d\r\n" % self.pid or reply.startswith(b"CLIENT_ERROR")


@contextmanager
def memcached_nodes(count: int, options: Sequence[str] = ()) -> Iterator[list[MemcachedNode]]:
    with ExitStack() as stack:
        yield [stack.enter_context(MemcachedNode(options)) for _ in range(count)]
