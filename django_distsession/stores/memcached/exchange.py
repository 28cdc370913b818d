"""
One round trip with several servers: every request is written before any reply is read.

One thread does it all. Whatever interrupts an exchange, `BaseException` too (a greenlet's
time-out, a cancelled task), every connection with an unread reply is closed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ...exceptions import RecordTooLarge
from .connection import FAILURES, ITEM_OVERHEAD, Connection, Reply
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
    replies: list[Reply | None] = [None] * len(commands)
    # By the position of its command, each connection that is not yet given back.
    busy: dict[int, Connection] = {}
    try:
        for position, (node, _) in enumerate(commands):
            try:
                connection = node.take()
            except FAILURES as error:
                node.failed(error)
            else:
                if connection is not None:
                    busy[position] = connection
        if body:
            _check_size(key, commands, body, busy)
        started = time.monotonic()
        for position, connection in tuple(busy.items()):
            node, command = commands[position]
            try:
                connection.send(key, command, body)
            except FAILURES as error:
                node.broke(busy.pop(position), error)
        passed = time.monotonic() - started
        for position, connection in tuple(busy.items()):
            node = commands[position][0]
            # All share one deadline, whatever order their replies are read in.
            is_late = passed > GRACE
            try:
                if is_late:
                    connection.set_timeout(max(node.timeout - passed, GRACE))
                replies[position] = connection.receive()
                if is_late:
                    connection.set_timeout(node.timeout)
            except FAILURES as error:
                node.broke(busy.pop(position), error)
            else:
                node.release(busy.pop(position), time.monotonic() - started)
            passed = time.monotonic() - started
    except BaseException:
        for position, connection in busy.items():
            commands[position][0].discard(connection)
        raise
    return replies


def _check_size(
    key: bytes, commands: Sequence[Command], body: bytes, busy: dict[int, Connection]
) -> None:
    # Without the line's end.
    size = len(body) - 2
    needed = size + len(key) + ITEM_OVERHEAD
    too_small = [place for place, connection in busy.items() if connection.item_limit < needed]
    if too_small:
        limit, name = busy[too_small[0]].item_limit, commands[too_small[0]][0].name
        # Nothing was sent yet, so all connections are as good as before.
        for place in tuple(busy):
            commands[place][0].release(busy.pop(place))
        raise RecordTooLarge(size, limit, f"memcached at {name}")
