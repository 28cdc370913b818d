"""
One round trip with several servers: what they are sent, and what came of it.

An operation asks for one (`stores/operations.py`), and whoever drives the operation performs it.
`perform` does so by blocking calls, in one thread, on connections of the servers' pools. What other
performers need, too, knows nothing of connections: whom to ask, by when, what is too large; how it
went they tell the nodes.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

from ...exceptions import RecordTooLarge
from ...observing import CopyRepaired, ExchangeEnded
from ..operations import Operation
from ..record import Record
from . import multiplexing, wire
from .connection import FAILURES, Connection
from .node import STORE, Node
from .protocol import CHANGED, DONE, ITEM_OVERHEAD, REFUSED, SET, Reply

# When the time is over, a reply that has arrived is still read, in seconds.
GRACE = 0.005

# A body that a socket takes at once, in bytes. What is larger waits for a server that hangs.
SENT_AT_ONCE = 16 * 1024

# What commands are called in reports.
NAMES = {b"mg": "get", b"ms": "set", b"md": "delete"}

# A server, and the line of the meta protocol that it is sent.
Command = tuple[Node, bytes]


class Exchange:
    """
    key: what all commands are about. body: what follows each of them.
    until: by the servers' monotonic clock, when the operation is over that asks for this.
    insists: whether to ask servers too that are believed down, unless they hang.
    restarts: how many were known of when the cas tokens in the commands were read; None if there
    are none.

    Its result are the replies in the order of the commands, None for each server that gave none.
    `RecordTooLarge` before anything is sent if one of the servers would refuse the body.
    """

    __slots__ = ("body", "commands", "insists", "item_size", "key", "restarts", "until")

    def __init__(
        self,
        key: bytes,
        commands: Sequence[Command],
        until: float,
        body: bytes = b"",
        insists: bool = False,
        restarts: int | None = None,
    ) -> None:
        self.key = key
        self.commands = commands
        self.until = until
        self.body = body
        self.insists = insists
        self.restarts = restarts
        # What each server has to have room for: the body without its line's end.
        self.item_size = len(body) - 2 + len(key) + ITEM_OVERHEAD if body else 0

    def asks(self, node: Node) -> bool:
        """
        Whether to ask this server.
        """
        # Where it failed at once last time, it costs no time to ask again, and one that is back by
        # now misses nothing.
        return node.breaker.allows() or (self.insists and not node.breaker.is_hung)

    def is_outdated(self) -> bool:
        """
        Whether the cas tokens may be of a server that has restarted since. To be asked when all
        connections are made, since these tell.
        """
        return self.restarts not in (None, self.commands[0][0].restarts.count)

    def refusals(self, asked: Sequence[int]) -> list[Reply | None]:
        """
        Return what servers reply to outdated tokens, given the positions of those that are asked.
        """
        return [
            Reply(CHANGED) if position in asked else None for position in range(len(self.commands))
        ]

    def too_large(self, node: Node, limit: int) -> RecordTooLarge:
        """
        Return the error that a server, whose limit is below `item_size`, would refuse the body.
        """
        return RecordTooLarge(len(self.body) - 2, limit, f"memcached at {node.name}")

    def report(
        self, position: int, reply: Reply | None, seconds: float, error: Exception | None = None
    ) -> None:
        """
        Tell observers, if there are any, what came of a command.
        """
        node, command = self.commands[position]
        if node.tell is None:
            return
        outcome = "ok"
        if reply is None or reply.status == REFUSED:
            outcome = "no answer" if reply is None else "refused"
        node.tell(
            ExchangeEnded(
                STORE,
                node.name,
                NAMES[command[:2]],
                outcome,
                seconds,
                sent=len(command) + len(self.body),
                received=len(reply.value) if reply else 0,
                error=type(error).__name__ if error else None,
            )
        )

    async def aperform(self) -> list[Reply | None]:
        return await multiplexing.perform(self)

    def perform(self) -> list[Reply | None]:
        """
        Write every request before any reply is read. Whatever interrupts it, `BaseException` too (a
        greenlet's time-out), every connection with an unread reply is closed.
        """
        commands = self.commands
        replies: list[Reply | None] = [None] * len(commands)
        if not commands:
            return replies
        monotonic = commands[0][0].clock.monotonic
        # In half of the time that is left: what one server keeps silent about may have to be asked
        # for elsewhere, or written there.
        until = (monotonic() + self.until) / 2
        # By the position of its command, each connection that is not yet given back.
        busy: dict[int, Connection] = {}
        try:
            self._connect(busy, until)
            if self.is_outdated():
                asked = tuple(busy)
                self._give_back(busy)
                return self.refusals(asked)
            given, is_late = self._send(busy, until)
            left = until - monotonic()
            for position, connection in tuple(busy.items()):
                node = commands[position][0]
                try:
                    # A second server that hangs must not cost a second time-out.
                    if is_late or given - left > GRACE:
                        connection.limit(until if left > GRACE else monotonic() + GRACE)
                    replies[position] = connection.receive()
                except FAILURES as error:
                    replies[position] = _failed(node, busy.pop(position), error, given)
                    left = until - monotonic()
                    self.report(position, replies[position], given - left, error)
                else:
                    left = until - monotonic()
                    node.pool.release(busy.pop(position))
                    node.answered(given - left)
                    if node.tell:
                        self.report(position, replies[position], given - left)
        except BaseException:
            for position, connection in busy.items():
                commands[position][0].pool.discard(connection)
            raise
        return replies

    def _connect(self, busy: dict[int, Connection], until: float) -> None:
        for position, (node, _) in enumerate(self.commands):
            if node.breaker.is_up or self.asks(node):
                # Nearly always one lies idle.
                connection = node.pool.pop()
                if connection is None or connection.has_input():
                    connection = node.take(until, connection)
                if connection is not None:
                    busy[position] = connection
        for position, connection in busy.items():
            if connection.item_limit < self.item_size:
                self._give_back(busy)
                raise self.too_large(self.commands[position][0], connection.item_limit)

    def _send(self, busy: dict[int, Connection], until: float) -> tuple[float, bool]:
        """
        Return how many seconds the servers are given, and whether one of them kept the others
        waiting, which are not to blame for it.
        """
        monotonic = self.commands[0][0].clock.monotonic
        left = given = max(until - monotonic(), GRACE)
        for position, connection in tuple(busy.items()):
            node, command = self.commands[position]
            try:
                connection.send(self.key, command, self.body, until, left)
            except FAILURES as error:
                _failed(node, busy.pop(position), error, left)
            if self.item_size > SENT_AT_ONCE:
                left = max(until - monotonic(), GRACE)
        is_late = given - left > GRACE
        return left if is_late else given, is_late

    def _give_back(self, busy: dict[int, Connection]) -> None:
        # Nothing was sent yet, so all connections are as good as before.
        for position in tuple(busy):
            self.commands[position][0].pool.release(busy.pop(position))

    def outcome(
        self,
        replies: Sequence[Reply | None],
        tokens: MutableMapping[Node, int],
        repair: bool = False,
    ) -> tuple[int, bool]:
        """
        Return how many servers took what was written, and whether one of them refused since it
        holds something else.

        tokens: of the servers that are known to hold a record; brought up to date. repair: whether
        they only lacked what others had.
        """
        taken, is_refused = 0, False
        for (node, _), reply in zip(self.commands, replies, strict=True):
            if reply is None or reply.status == REFUSED:
                node.missed += 1
                tokens.pop(node, None)
            elif reply.status == DONE:
                taken += 1
                tokens[node] = reply.cas
                node.written += 1
                node.repaired += repair
                if repair and node.tell:
                    node.tell(CopyRepaired(STORE, node.name))
            else:
                is_refused = True
        return taken, is_refused


def _failed(node: Node, connection: Connection, error: Exception, given: float) -> Reply | None:
    node.pool.discard(connection)
    return node.no_answer(error, given)


def storing(
    key: bytes,
    of: bytes,
    record: Record,
    ttl: int,
    conditions: Sequence[tuple[Node, bytes]],
    until: float,
    restarts: int | None = None,
) -> Exchange:
    """
    Return the exchange that sends a record to servers, each of which takes it under a condition.

    of: the fingerprint of the storage id. ttl: as memcached takes it. restarts: see `Exchange`.
    """
    value = wire.pack(of, record)
    command = SET % (key, len(value), ttl)
    commands = [(node, command + condition) for node, condition in conditions]
    return Exchange(key, commands, until, value + b"\r\n", insists=True, restarts=restarts)


def insist_gen(
    exchange: Exchange, replies: Sequence[Reply | None]
) -> Operation[Sequence[Reply | None]]:
    """
    Repeat an exchange with the servers that gave no reply. Return all replies.
    """
    rest = [
        command for command, reply in zip(exchange.commands, replies, strict=True) if reply is None
    ]
    if not rest:
        return replies
    # Before any connection is taken, which others could use meanwhile.
    for node, _ in rest:
        if node.breaker.is_hung:
            yield from node.await_answer_gen(exchange.until)
    late = yield Exchange(
        exchange.key, rest, exchange.until, exchange.body, insists=True, restarts=exchange.restarts
    )
    more = iter(late)
    return [next(more) if reply is None else reply for reply in replies]
