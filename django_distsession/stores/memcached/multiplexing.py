"""
Performing an exchange on an event loop, on one connection per server that all coroutines share.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ...exceptions import StoreUnavailable
from .channel import TooManyRequests
from .connection import FAILURES
from .multiplexed import MultiplexedConnection
from .node import Node
from .protocol import Reply

if TYPE_CHECKING:
    from .exchange import Exchange

# However little time is left, a server that answers at once is heard, in seconds.
GRACE = 0.005

# The servers that are asked, with their connections, by the position of their command.
Asked = list[tuple[int, Node, MultiplexedConnection]]


async def perform(exchange: Exchange) -> list[Reply | None]:
    """
    Send every request before any reply is waited for. A reply that its coroutine does not wait for
    any more, since it was cancelled, is read and dropped by the connection.
    """
    commands = exchange.commands
    replies: list[Reply | None] = [None] * len(commands)
    if not commands:
        return replies
    # In half of the time that is left, as with blocking calls.
    given = max((exchange.until - commands[0][0].clock.monotonic()) / 2, GRACE)
    loop = asyncio.get_running_loop()
    began = loop.time()
    deadline = began + given
    asked: Asked = []
    missing: list[tuple[int, Node]] = []
    for position, (node, _) in enumerate(commands):
        if node.breaker.is_up or exchange.asks(node):
            connection = node.channel.get(loop).connection
            if connection is None:
                missing.append((position, node))
            else:
                asked.append((position, node, connection))
    if missing:
        asked += await _connect(missing, loop, given)
        # Connecting may have taken all of it, where the loop was blocked meanwhile.
        deadline = max(deadline, loop.time() + GRACE)
    for _, node, connection in asked:
        if connection.item_limit < exchange.item_size:
            raise exchange.too_large(node, connection.item_limit)
    if exchange.is_outdated():
        return exchange.refusals([position for position, _, _ in asked])
    waiting = [
        connection.send(exchange.key, commands[position][1], exchange.body, deadline)
        for position, _, connection in asked
    ]
    try:
        for (position, node, _), reply in zip(asked, waiting, strict=True):
            try:
                replies[position] = await reply
            except FAILURES as error:
                replies[position] = node.no_answer(error, given)
                exchange.report(position, replies[position], loop.time() - began, error)
            else:
                node.answered(loop.time() - began)
                if node.tell:
                    exchange.report(position, replies[position], loop.time() - began)
    except BaseException:
        _abandon(waiting)
        raise
    return replies


def _abandon(waiting: list[asyncio.Future[Reply]]) -> None:
    for reply in waiting:
        if not reply.cancel() and not reply.cancelled():
            # Seen, so that nobody is told of an error which nobody looked at.
            reply.exception()


async def _connect(
    missing: list[tuple[int, Node]],
    loop: asyncio.AbstractEventLoop,
    given: float,
) -> Asked:
    """
    Return those of the servers that there is a connection to in the time that is given.
    """

    async def connect(node: Node) -> MultiplexedConnection | None:
        try:
            return await node.channel.get(loop).acquire(given)
        except TooManyRequests as error:
            raise StoreUnavailable(
                f"{error.count} requests are waiting for memcached at {node.name} already."
            ) from None
        except FAILURES as error:
            node.failed(error, given)
            return None

    connections = await asyncio.gather(*(connect(node) for _, node in missing))
    return [
        (position, node, connection)
        for (position, node), connection in zip(missing, connections, strict=True)
        if connection is not None
    ]
