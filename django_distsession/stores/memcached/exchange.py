"""
One round trip with several servers: every request is written before any reply is read.

One thread does it all. Whatever interrupts an exchange, `BaseException` too (a greenlet's
time-out, a cancelled task), every connection with an unread reply is closed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ...exceptions import RecordTooLarge
from .connection import FAILURES, ITEM_OVERHEAD, Connection, Refused, Reply
from .node import Node

# A second server that hangs must not cost a second time-out.
GRACE = 0.005

# A server, and the line of the meta protocol that it is sent.
Command = tuple[Node, bytes]


def exchange(key: bytes, commands: Sequence[Command], body: bytes = b"") -> list[Reply | None]:
    """
    Return the replies in the order of the commands, None for each server that did not do as asked.

    key: what all commands are about. body: what follows each of them.

    `RecordTooLarge` before anything is sent if one of the servers would refuse the body.
    """
    # One place per command; None where there is no connection, or no longer one to wait for.
    open_: list[Connection | None] = []
    try:
        for node, _ in commands:
            open_.append(_connect(node))
        if body:
            _check_sizes(key, commands, body, open_)
        started = time.monotonic()
        _send(key, commands, body, open_)
        return _receive(commands, open_, started)
    except BaseException:
        for (node, _), connection in zip(commands, open_, strict=False):
            if connection is not None:
                node.discard(connection)
        raise


def _connect(node: Node) -> Connection | None:
    if not (node.health.is_up or node.health.admits()):
        return None
    try:
        return node.acquire()
    except FAILURES as error:
        node.failed(error)
        return None


def _check_sizes(
    key: bytes, commands: Sequence[Command], body: bytes, open_: list[Connection | None]
) -> None:
    # Without the line's end.
    size = len(body) - 2
    needed = size + len(key) + ITEM_OVERHEAD
    for (node, _), connection in zip(commands, open_, strict=True):
        if connection is not None and needed > connection.item_limit:
            _release_unused(commands, open_)
            raise RecordTooLarge(size, connection.item_limit, f"memcached at {node.name}")


def _release_unused(commands: Sequence[Command], open_: list[Connection | None]) -> None:
    # Nothing was sent yet, so all connections are as good as before.
    for position, connection in enumerate(open_):
        if connection is not None:
            open_[position] = None
            commands[position][0].release(connection)


def _send(
    key: bytes, commands: Sequence[Command], body: bytes, open_: list[Connection | None]
) -> None:
    for position, connection in enumerate(open_):
        if connection is None:
            continue
        node, command = commands[position]
        try:
            connection.send(key, command, body)
        except FAILURES as error:
            open_[position] = None
            node.discard(connection)
            node.failed(error)


def _receive(
    commands: Sequence[Command], open_: list[Connection | None], started: float
) -> list[Reply | None]:
    replies: list[Reply | None] = [None] * len(commands)
    passed = time.monotonic() - started
    for position, connection in enumerate(open_):
        if connection is None:
            continue
        node = commands[position][0]
        # All share one deadline, whatever order their replies are read in.
        is_late = passed > GRACE
        try:
            if is_late:
                connection.set_timeout(max(node.timeout - passed, GRACE))
            replies[position] = connection.receive()
            if is_late:
                connection.set_timeout(node.timeout)
        except Refused as error:
            open_[position] = None
            node.discard(connection)
            node.refused(error)
        except FAILURES as error:
            open_[position] = None
            node.discard(connection)
            node.failed(error)
        else:
            open_[position] = None
            node.release(connection, time.monotonic() - started)
        passed = time.monotonic() - started
    return replies
