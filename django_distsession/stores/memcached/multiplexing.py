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


async def perform(exchange: Exchange) -> list[Reply | None]:
    """
    Send every request before any reply is waited for. A reply that its coroutine does not wait for
    any more, since it was cancelled, is read and dropped by the connection.
    """
    commands = exchange.commands
    replies: list[Reply | None] = [None] * len(commands)
    if not commands:
        return replies
    now = commands[0][0].clock.monotonic()
    # In half of the time that is left, as with blocking calls.
    given = max((exchange.until - now) / 2, GRACE)
    time = asyncio.get_running_loop().time
    began = time()
    deadline = began + given
    connections = await _connections(exchange, replies, deadline, given)
    waiting = {
        position: connection.send(exchange.key, commands[position][1], exchange.body, deadline)
        for position, connection in connections.items()
    }
    try:
        for position, reply in waiting.items():
            node = commands[position][0]
            try:
                replies[position] = await reply
            except FAILURES as error:
                replies[position] = node.no_answer(error, given)
            else:
                node.answered(time() - began)
    except BaseException:
        for reply in waiting.values():
            if not reply.cancel() and not reply.cancelled():
                # Seen, so that nobody is told of an error which nobody looked at.
                reply.exception()
        raise
    return replies


async def _connections(
    exchange: Exchange, replies: list[Reply | None], deadline: float, given: float
) -> dict[int, MultiplexedConnection]:
    """
    Return a connection for each server that is asked, by its command's position.

    `RecordTooLarge` if one of the servers would refuse what they are to be sent.
    """
    found: dict[int, MultiplexedConnection] = {}
    missing: list[int] = []
    for position, (node, _) in enumerate(exchange.commands):
        if node.breaker.is_up or exchange.asks(node):
            connection = node.channel.get().connection
            if connection is None:
                missing.append(position)
            else:
                found[position] = connection
    if missing:
        nodes = [exchange.commands[position][0] for position in missing]
        opened = await asyncio.gather(*(_connect(node, deadline, given) for node in nodes))
        for position, connection in zip(missing, opened, strict=True):
            if connection is not None:
                found[position] = connection
    for position, connection in found.items():
        if connection.item_limit < exchange.item_size:
            raise exchange.too_large(exchange.commands[position][0], connection.item_limit)
    return found


async def _connect(node: Node, deadline: float, given: float) -> MultiplexedConnection | None:
    try:
        return await node.channel.get().acquire(deadline)
    except TooManyRequests as error:
        raise StoreUnavailable(
            f"{error.count} requests are waiting for memcached at {node.name} already."
        ) from None
    except FAILURES as error:
        node.failed(error, given)
        return None
