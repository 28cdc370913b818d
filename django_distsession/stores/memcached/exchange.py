"""
One round trip with several servers: every request is written before any reply is read.

One thread does it all. Whatever interrupts an exchange, `BaseException` too (a greenlet's
time-out, a cancelled task), every connection with an unread reply is closed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from ...exceptions import RecordTooLarge
from .connection import FAILURES, ITEM_OVERHEAD, Connection, Refused, Reply
from .node import Node

# A second server that hangs must not cost a second time-out.
GRACE = 0.005


class Request(NamedTuple):
    """
    command: the line of the meta protocol. body: what follows it.
    """

    node: Node
    key: bytes
    command: bytes
    body: bytes = b""


def exchange(requests: Sequence[Request]) -> list[Reply | None]:
    """
    Return the replies in the order of the requests, None for each server that did not do as asked.

    requests: the same of every server, or none with a body.

    `RecordTooLarge` before anything is sent if one of the servers would refuse the value.
    """
    # One place per request; None where there is no connection, or no longer one to wait for.
    open_: list[Connection | None] = []
    try:
        for request in requests:
            open_.append(_connect(request.node))
        if requests and requests[0].body:
            _check_sizes(requests, open_)
        started = time.monotonic()
        _send(requests, open_)
        return _receive(requests, open_, started)
    except BaseException:
        for request, connection in zip(requests, open_, strict=False):
            if connection is not None:
                request.node.discard(connection)
        raise


def _connect(node: Node) -> Connection | None:
    if not (node.health.is_up or node.health.admits()):
        return None
    try:
        return node.acquire()
    except FAILURES as error:
        node.failed(error)
        return None


def _check_sizes(requests: Sequence[Request], open_: list[Connection | None]) -> None:
    for request, connection in zip(requests, open_, strict=True):
        if connection is None:
            continue
        # Without the line's end.
        size = len(request.body) - 2
        if size + len(request.key) + ITEM_OVERHEAD > connection.item_limit:
            _release_unused(requests, open_)
            raise RecordTooLarge(size, connection.item_limit, f"memcached at {request.node.name}")


def _release_unused(requests: Sequence[Request], open_: list[Connection | None]) -> None:
    # Nothing was sent yet, so all connections are as good as before.
    for position, connection in enumerate(open_):
        if connection is not None:
            open_[position] = None
            requests[position].node.release(connection)


def _send(requests: Sequence[Request], open_: list[Connection | None]) -> None:
    for position, connection in enumerate(open_):
        if connection is None:
            continue
        node, key, command, body = requests[position]
        try:
            connection.send(key, command, body)
        except FAILURES as error:
            open_[position] = None
            node.discard(connection)
            node.failed(error)


def _receive(
    requests: Sequence[Request], open_: list[Connection | None], started: float
) -> list[Reply | None]:
    replies: list[Reply | None] = [None] * len(requests)
    for position, connection in enumerate(open_):
        if connection is None:
            continue
        node = requests[position].node
        # All share one deadline, whatever order their replies are read in.
        passed = time.monotonic() - started
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
    return replies
