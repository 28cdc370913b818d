"""
One round trip with several servers: every request is written before any reply is read.

One thread does it all. Whatever interrupts an exchange, `BaseException` too (a greenlet's
time-out, a cancelled task), every connection with an unread reply is closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...exceptions import RecordTooLarge
from .connection import FAILURES, ITEM_OVERHEAD, Connection, Reply
from .node import Node

# A second server that hangs must not cost a second time-out.
GRACE = 0.005


class Request(NamedTuple):
    """
    send: writes the request to a connection. size: of the value in it, 0 if there is none.
    """

    node: Node
    send: Callable[[Connection], None]
    key: bytes
    size: int = 0


class _Exchange(NamedTuple):
    position: int
    request: Request
    connection: Connection


def exchange(requests: Sequence[Request]) -> list[Reply | None]:
    """
    Return the replies in the order of the requests, None for each server that was not reached.

    `RecordTooLarge` before anything is sent if one of the servers would refuse the value.
    """
    replies: list[Reply | None] = [None] * len(requests)
    open_: list[_Exchange] = []
    try:
        for index, request in enumerate(requests):
            if request.node.health.admits():
                _connect(index, request, open_)
        for one in open_:
            _check_size(one)
        for one in list(open_):
            try:
                one.request.send(one.connection)
            except FAILURES as error:
                _give_up(open_, one, error)
        _receive(open_, replies)
    finally:
        for one in open_:
            one.request.node.discard(one.connection)
    return replies


def _connect(index: int, request: Request, open_: list[_Exchange]) -> None:
    try:
        connection = request.node.acquire()
    except FAILURES as error:
        request.node.failed(error)
    else:
        open_.append(_Exchange(index, request, connection))


def _check_size(one: _Exchange) -> None:
    limit = one.connection.item_limit
    if one.request.size + len(one.request.key) + ITEM_OVERHEAD > limit:
        raise RecordTooLarge(one.request.size, limit, f"memcached at {one.request.node.name}")


def _receive(open_: list[_Exchange], replies: list[Reply | None]) -> None:
    deadline: float | None = None
    while open_:
        one = open_[0]
        node = one.request.node
        if deadline is not None:
            one.connection.set_timeout(max(deadline - time.monotonic(), GRACE))
        try:
            replies[one.position] = one.connection.receive()
        except FAILURES as error:
            deadline = deadline or time.monotonic()
            _give_up(open_, one, error)
            continue
        if deadline is not None:
            one.connection.set_timeout(node.timeout)
        open_.pop(0)
        node.release(one.connection)


def _give_up(open_: list[_Exchange], one: _Exchange, error: BaseException) -> None:
    open_.remove(one)
    one.request.node.discard(one.connection)
    one.request.node.failed(error)
