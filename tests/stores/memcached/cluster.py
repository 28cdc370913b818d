"""
memcached servers in this process, in place of sockets: what travels between store and
servers can be lost, delayed, applied late, or cut in half, exactly where a test wants it.

They do what memcached does with `mg`, `ms` and `md`: a cas value per write, counted anew by a
server that restarts, so that an old token may fit another record by chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from django_distsession.stores.circuit_breaker import HealthStatus
from django_distsession.stores.deadline import Deadline
from django_distsession.stores.memcached.exchange import Exchange
from django_distsession.stores.memcached.node import Node
from django_distsession.stores.memcached.protocol import Reply
from django_distsession.stores.operations import Operation

TTL = 14 * 24 * 3600


class Crash(BaseException):
    """
    The process that was in the middle of an exchange is gone.
    """


class Request(NamedTuple):
    """
    A line of the meta protocol, and what follows it.
    """

    command: bytes
    body: bytes


@dataclass
class FakeServer:
    """
    condition: "up"; "hung": takes requests, and acts on them when it wakes; "dead".
    mute: its next reply is lost on the way; what it replies to took effect.
    """

    name: str
    condition: str = "up"
    mute: bool = False
    items: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    writes: int = 0
    runs: int = 0
    waiting: list[Request] = field(default_factory=list)

    def do(self, request: Request) -> Reply:
        verb, key, *flags = request.command.split()
        cas, value = self.items.get(key, (0, b""))
        if verb == b"mg":
            return Reply(b"VA", cas, value, TTL) if cas else Reply(b"EN")
        if verb == b"md":
            self.items.pop(key, None)
            return Reply(b"HD")
        if b"ME" in flags and cas:
            return Reply(b"NS")
        wanted = next((int(flag[1:]) for flag in flags if flag[:1] == b"C"), None)
        if wanted is not None and wanted != cas:
            return Reply(b"EX" if cas else b"NF")
        self.writes += 1
        self.items[key] = (self.writes, request.body[:-2])
        return Reply(b"HD", self.writes)

    def wake(self) -> None:
        self.condition = "up"
        waiting, self.waiting = self.waiting, []
        for request in waiting:
            self.do(request)

    def die(self) -> None:
        self.condition = "dead"
        self.waiting.clear()
        self.items.clear()
        self.writes = 0
        self.runs += 1


@dataclass
class Cluster:
    """
    passed_by: which servers a store takes for down. refused: of those, where it met nobody.
    crash_after: the request, counted from the next one on, after which its sender is gone.
    interruption: what happens between the first and the second request of the next exchange.
    """

    servers: dict[str, FakeServer]
    passed_by: set[tuple[int, str]] = field(default_factory=set)
    refused: set[tuple[int, str]] = field(default_factory=set)
    crash_after: int | None = None
    interruption: Callable[[], None] | None = None
    owners: dict[Node, int] = field(default_factory=dict)

    def owned_by(self, owner: int, node: Node) -> None:
        """
        Let a process's node speak to its server here.
        """
        self.owners[node] = owner
        node.breaker = FakeBreaker(self, (owner, node.name))  # type: ignore[assignment]

    def perform(self, exchange: Exchange) -> list[Reply | None]:
        """
        Stand in for the exchange's method of this name.
        """
        replies: list[Reply | None] = []
        for node, _ in exchange.commands:
            if exchange.asks(node):
                self._meet(node)
        if exchange.is_outdated():
            asked = [exchange.asks(node) for node, _ in exchange.commands]
            return [Reply(b"EX") if is_asked else None for is_asked in asked]
        for position, (node, command) in enumerate(exchange.commands):
            if position == 1 and self.interruption:
                interruption, self.interruption = self.interruption, None
                interruption()
            request = Request(command, exchange.body)
            replies.append(self._send(node, request) if exchange.asks(node) else None)
            if self.crash_after is not None:
                self.crash_after -= 1
                if self.crash_after < 0:
                    self.crash_after = None
                    raise Crash
        return replies

    def _meet(self, node: Node) -> None:
        server = self.servers[node.name]
        if server.condition == "up":
            # A connection to an earlier run is broken, and a new one tells.
            node._meet((1, server.runs))

    def replace_exchanges(self, patch: pytest.MonkeyPatch) -> None:
        """
        Have all exchanges performed here.
        """
        patch.setattr(Exchange, "perform", lambda exchange: self.perform(exchange))

    def _send(self, node: Node, request: Request) -> Reply | None:
        server = self.servers[node.name]
        owner = (self.owners[node], server.name)
        if server.condition == "up":
            reply = server.do(request)
            if not server.mute:
                self.passed_by.discard(owner)
                self.refused.discard(owner)
                return reply
            server.mute = False
        elif server.condition == "hung":
            server.waiting.append(request)
        else:
            self.refused.add(owner)
        self.passed_by.add(owner)
        return None


@dataclass
class FakeBreaker:
    """
    What one process thinks of a server. Its watcher is quick: whoever waits for it is told how the
    server is now.
    """

    cluster: Cluster
    owner: tuple[int, str]

    @property
    def is_up(self) -> bool:
        return self.owner not in self.cluster.passed_by

    @property
    def is_refusing(self) -> bool:
        return self.owner in self.cluster.refused

    @property
    def is_hung(self) -> bool:
        return not self.is_up and not self.is_refusing

    def allows(self) -> bool:
        return self.is_up

    def await_answer_gen(self, deadline: Deadline) -> Operation[bool]:
        yield from ()
        condition = self.cluster.servers[self.owner[1]].condition
        if condition == "up":
            self.cluster.passed_by.discard(self.owner)
        elif condition == "dead":
            self.cluster.refused.add(self.owner)
        return condition == "up"

    def status(self) -> HealthStatus:
        return HealthStatus(self.is_up, 0.0, None)

    def close(self) -> None:
        pass
