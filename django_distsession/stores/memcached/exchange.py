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


class _Exchange(NamedTuple):
    position: int
    request: Request
    connection: Connection


def exchange(requests: Sequence[Request]) -> list[Reply | None]:
    """
    Return the replies in the order of the requests, None for each server that did not do as asked.

    `RecordTooLarge` before anything is sent if one of the servers would refuse the value.
    """
    replies: list[Reply | None] = [None] * len(requests)
    open_: list[_Exchange] = []
    try:
        for position, request in enumerate(requests):
            if request.node.health.admits():
                _connect(position, request, open_)
        _check_sizes(open_)
        started = time.monotonic()
        for one in tuple(open_):
            try:
                one.connection.send(one.request.key, one.request.command, one.request.body)
            except FAILURES as error:
                _give_up(open_, one, error)
        _receive(open_, replies, started)
    finally:
        for one in open_:
            one.request.node.discard(one.connection)
    return replies


def _connect(position: int, request: Request, open_: list[_Exchange]) -> None:
    node = request.node
    try:
        connection = node.acquire()
    except FAILURES as error:
        node.failed(error)
    else:
        if connection is not None:
            open_.append(_Exchange(position, request, connection))


def _check_sizes(open_: list[_Exchange]) -> None:
    for one in open_:
        request, limit = one.request, one.connection.item_limit
        # Without the line's end.
        size = len(request.body) - 2
        if size + len(request.key) + ITEM_OVERHEAD > limit:
            # Nothing was sent yet, so all connections are as good as before.
            while open_:
                unused = open_.pop()
                unused.request.node.release(unused.connection)
            raise RecordTooLarge(size, limit, f"memcached at {request.node.name}")


def _receive(open_: list[_Exchange], replies: list[Reply | None], started: float) -> None:
    failed = False
    while open_:
        one = open_[0]
        node, connection = one.request.node, one.connection
        if failed:
            # All share one deadline, whatever order their replies are read in.
            left = started + node.timeout - time.monotonic()
            connection.set_timeout(max(left, GRACE))
        try:
            replies[one.position] = connection.receive()
        except Refused as error:
            open_.pop(0)
            node.discard(connection)
            node.refused(error)
            continue
        except FAILURES as error:
            failed = True
            _give_up(open_, one, error)
            continue
        if failed:
            connection.set_timeout(node.timeout)
        open_.pop(0)
        node.release(connection, time.monotonic() - started)


def _give_up(open_: list[_Exchange], one: _Exchange, error: BaseException) -> None:
    open_.remove(one)
    one.request.node.discard(one.connection)
    one.request.node.failed(error)
