"""
One round trip with several servers: every request is written before any reply is read.

One thread does it all. Whatever interrupts an exchange, `BaseException` too (a greenlet's
time-out, a cancelled task), every connection with an unread reply is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...exceptions import RecordTooLarge
from ..deadline import Deadline
from .connection import FAILURES, Connection, ServerError
from .node import Node
from .protocol import ITEM_OVERHEAD, REFUSED, Reply

# When the time is over, a reply that has arrived is still read, in seconds.
GRACE = 0.005

# A body that a socket takes at once, in bytes. What is larger waits for a server that hangs.
SENT_AT_ONCE = 16 * 1024

# A server, and the line of the meta protocol that it is sent.
Command = tuple[Node, bytes]


def exchange(
    key: bytes,
    commands: Sequence[Command],
    deadline: Deadline,
    body: bytes = b"",
    *,
    is_asked: Callable[[Node], bool] | None = None,
) -> list[Reply | None]:
    """
    Return the replies in the order of the commands, None for each server that gave none.

    key: what all commands are about. body: what follows each of them. is_asked: whether to ask a
    server at all; None: if it is up.

    It takes half of the time that is left at the most: what one server keeps silent about may have
    to be asked for elsewhere, or written there.

    `RecordTooLarge` before anything is sent if one of the servers would refuse the body.
    """
    replies: list[Reply | None] = [None] * len(commands)
    # By the position of its command, each connection that is not yet given back.
    busy: dict[int, Connection] = {}
    deadline = deadline.share(2)
    try:
        for position, (node, _) in enumerate(commands):
            breaker = node.breaker
            wanted = breaker.is_up or breaker.allows() if is_asked is None else is_asked(node)
            if wanted and (connection := node.take(deadline)):
                busy[position] = connection
        if body:
            _check_size(key, commands, body, busy)
        given = left = max(deadline.left, GRACE)
        for position, connection in tuple(busy.items()):
            node, command = commands[position]
            try:
                connection.send(key, command, body, deadline, left)
            except FAILURES as error:
                node.broke(busy.pop(position), error, left)
            if len(body) > SENT_AT_ONCE:
                left = max(deadline.left, GRACE)
        is_late = given - left > GRACE
        if is_late:
            # One of them kept the others waiting, which are not to blame for it.
            given = left
        left = deadline.left
        for position, connection in tuple(busy.items()):
            node = commands[position][0]
            try:
                # A second server that hangs must not cost a second time-out.
                if is_late or given - left > GRACE:
                    connection.set_deadline(deadline if left > GRACE else Deadline(GRACE))
                replies[position] = connection.receive()
            except ServerError as error:
                replies[position] = Reply(REFUSED)
                node.refused(busy.pop(position), error)
            except FAILURES as error:
                node.broke(busy.pop(position), error, given)
                left = deadline.left
            else:
                left = deadline.left
                node.release(busy.pop(position), given - left)
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
    too_small = [
        position for position, connection in busy.items() if connection.item_limit < needed
    ]
    if too_small:
        limit, name = busy[too_small[0]].item_limit, commands[too_small[0]][0].name
        # Nothing was sent yet, so all connections are as good as before.
        for position in tuple(busy):
            commands[position][0].release(busy.pop(position))
        raise RecordTooLarge(size, limit, f"memcached at {name}")
