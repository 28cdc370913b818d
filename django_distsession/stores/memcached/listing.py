"""
Which sessions a server holds, as its LRU crawler lists them.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self
from urllib.parse import unquote_to_bytes

from ...exceptions import StoreUnavailable
from ..deadline import Deadline
from .connection import FAILURES, Connection, CrawlerBusy
from .node import Node

# Seconds without a key: the crawler pauses, and a list is not a request of a user's.
PATIENCE = 10.0
# Between two tries when the crawler is at work for somebody else.
PAUSE = 0.1
# What is held in memory of a list before it goes to disk.
IN_MEMORY = 1024 * 1024

# A hash, or a session key (`HASH_KEYS`).
STORAGE_ID = re.compile(rb"[0-9a-z]{8,128}")


class Listing:
    """
    The storage ids of the keys under `prefix` that a server holds.

    All of them are taken in before the first is looked at, into a temporary file if they are
    many: the crawler serves one client at a time, and gives up on a slow one.
    """

    def __init__(self, node: Node, prefix: bytes) -> None:
        self._node = node
        self._prefix = prefix
        self._count = 0
        self._ids = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        try:
            self._dump()
        except BaseException:
            self._ids.close()
            raise

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        self._ids.seek(0)
        for line in self._ids:
            yield line[:-1].decode("ascii", "replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ids.close()

    def _dump(self) -> None:
        node, prefix = self._node, self._prefix
        try:
            connection = node.acquire(Deadline(PATIENCE, node.clock.monotonic))
        except FAILURES as error:
            node.failed(error)
            raise self._unavailable(error) from error
        if connection is None:
            raise self._unavailable(None)
        try:
            for quoted in self._keys(connection):
                key = unquote_to_bytes(quoted)
                # Others may have stored there what is no session.
                if key.startswith(prefix) and STORAGE_ID.fullmatch(key, len(prefix)):
                    self._ids.write(key[len(prefix) :] + b"\n")
                    self._count += 1
        except FAILURES as error:
            raise self._unavailable(error) from error
        finally:
            # After an error replies may be on their way; and nobody lists often.
            node.pool.discard(connection)

    def _keys(self, connection: Connection) -> Iterator[bytes]:
        deadline = Deadline(PATIENCE, self._node.clock.monotonic)
        while True:
            try:
                yield from connection.dump_keys(PATIENCE)
            except CrawlerBusy:
                if deadline.left <= 0:
                    raise
                time.sleep(PAUSE)
            else:
                return

    def _unavailable(self, error: BaseException | None) -> StoreUnavailable:
        reason = f"{type(error).__name__}: {error}".rstrip(".") if error else "it is down"
        return StoreUnavailable(
            f"memcached at {self._node.name} does not list its keys ({reason}). It must be up, "
            "and run without -X (--disable-dumping) and with its LRU crawler."
        )
