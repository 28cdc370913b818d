"""
Which sessions a server holds, listed by its LRU crawler.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ...exceptions import StoreUnavailable
from .connection import FAILURES
from .node import Node

# The crawler pauses; a list is not a request of a user's.
PATIENCE = 10.0
# What is held in memory of a list before it goes to disk.
IN_MEMORY = 1024 * 1024


class Repair(NamedTuple):
    """
    What bringing one session's replicas together took.

    found: whether there was anything to be read. written: how many replicas lacked the record or
    held an older one. missed: how many replicas could not be reached.
    """

    found: bool
    written: int
    missed: int


def walk(node: Node, prefix: bytes) -> Iterator[str]:
    """
    Yield the storage ids of the keys under `prefix` that a server holds.

    The whole list is taken in before the first is yielded, into a temporary file if it is long:
    the crawler serves one client at a time, and gives up on a slow one.
    """
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as ids:
        _dump(node, prefix, ids)
        ids.seek(0)
        for line in ids:
            yield line[:-1].decode("ascii", "replace")


def _dump(node: Node, prefix: bytes, ids: tempfile.SpooledTemporaryFile[bytes]) -> None:
    try:
        connection = node.acquire()
    except FAILURES as error:
        node.failed(error)
        raise _unavailable(node, error) from error
    if connection is None:
        raise _unavailable(node, None)
    try:
        connection.set_timeout(PATIENCE)
        for quoted in connection.dump_keys():
            key = unquote_to_bytes(quoted)
            if key.startswith(prefix):
                ids.write(key[len(prefix) :] + b"\n")
    except FAILURES as error:
        raise _unavailable(node, error) from error
    finally:
        # Not worth resetting for the next user.
        node.discard(connection)


def _unavailable(node: Node, error: BaseException | None) -> StoreUnavailable:
    reason = f"{type(error).__name__}: {error}" if error else "it is down"
    return StoreUnavailable(
        f"memcached at {node.name} does not list its keys ({reason}). It must be up, and run "
        "without -X (--disable-dumping) and with its LRU crawler."
    )
