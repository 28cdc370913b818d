"""
Records in memcached: replicated, versioned, compared-and-swapped.

A read asks every replica that can be reached and brings copies that differ together before it
answers. A write is done when every replica that can be reached took it. So whatever a server
slept through, the copy that it wakes up with is outvoted by its stamps, never by its luck.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from ... import suspicious
from ...exceptions import StoreUnavailable
from ..base import CacheStore, Conflict, Copy, Found, Merge, Record, Token
from . import wire
from .connection import Connection, Reply, parse_server
from .exchange import Request, exchange
from .node import Node
from .placement import Placement

# memcached takes a longer time for an absolute one.
LONGEST_RELATIVE_TTL = 30 * 24 * 3600

# Records outlive their expiry in memcached by this, so that no skewed clock ends a session early.
CLOCK_SKEW = 300

# How often copies that keep changing under a reader are read again.
MAX_TRIES = 20

ALWAYS, IF_ABSENT = b"", b"ME"


class _Held(NamedTuple):
    """
    What one replica answered: its cas token (0: it has nothing) and what could be read of it.
    """

    node: Node
    cas: int
    record: Record | None


# For each replica that was reached, its cas token.
Tokens = dict[Node, int]


class MemcachedStore(CacheStore):
    """
    servers: "host:port", "[ipv6]:port" or the path of a UNIX socket.
    replicas: how many of them hold each session. quorum: how many must answer and must take.
    timeout, connect_timeout, retry_after: seconds.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        namespace: str,
        merge: Merge,
        replicas: int,
        quorum: int,
        timeout: float = 0.25,
        connect_timeout: float = 0.25,
        pool_size: int = 32,
        retry_after: float = 1.0,
        credentials: tuple[str, str] | None = None,
        tls_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._prefix = namespace.encode() + b":"
        self._merge = merge
        self._quorum = quorum
        self._clock = clock
        self._placement = Placement(servers, replicas)
        self.nodes = [
            Node(
                server,
                partial(
                    Connection,
                    parse_server(server),
                    timeout=timeout,
                    connect_timeout=connect_timeout,
                    credentials=credentials,
                    tls_context=tls_context,
                ),
                pool_size=pool_size,
                retry_after=retry_after,
                timeout=timeout,
            )
            for server in servers
        ]

    def get(self, storage_id: str) -> Found | None:
        """
        Read all replicas, bring copies that differ together, repair, and only then answer.

        So what one reader saw, no later reader misses.
        """
        nodes = self._replica_set(storage_id)
        for _ in range(MAX_TRIES):
            held = self._read(nodes, storage_id)
            if len(held) < self._quorum:
                raise self._unavailable(len(held))
            records = [copy.record for copy in held if copy.record is not None]
            if not records:
                return None
            agreed = self._agree(storage_id, records)
            if agreed is None:
                return None
            differing = [
                copy
                for copy in held
                if copy.record is None or copy.record.version != agreed.version
            ]
            tokens = {copy.node: copy.cas for copy in held}
            if not differing or self._repair(storage_id, agreed, differing, tokens):
                return Found(agreed, tokens)
        raise StoreUnavailable("A session in memcached kept changing while it was read.")

    def add(self, storage_id: str, record: Record) -> Token:
        """
        Store on all reachable replicas, provided that none of them has the session.
        """
        return self._write(storage_id, record, {})

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        """
        Compare and swap on all reachable replicas. One that was not read yet must be empty.
        """
        return self._write(storage_id, record, token)

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        """
        Put the tombstone on all reachable replicas, over whatever they hold.
        """
        self.bury(storage_id, Record.tombstone(expires_at))

    def bury(self, storage_id: str, tombstone: Record) -> None:
        """
        Put this tombstone on all reachable replicas, over whatever they hold.
        """
        nodes = self._replica_set(storage_id)
        replies = self._send(storage_id, tombstone, [(node, ALWAYS) for node in nodes])
        taken = sum(reply is not None and reply.status == b"HD" for reply in replies)
        if taken < self._quorum:
            raise self._unavailable(taken)

    def discard(self, storage_id: str, token: Token) -> None:
        """
        Delete the session on the replicas that it was read from.
        """
        key = self._key(storage_id)
        tokens: Tokens = token
        replies = exchange(
            [
                Request(
                    node, partial(Connection.send_delete, key=key, condition=_condition(cas)), key
                )
                for node, cas in tokens.items()
            ]
        )
        if any(reply is not None and reply.status == b"EX" for reply in replies):
            raise Conflict(self.get(storage_id))

    def inspect(self, storage_id: str) -> list[Copy]:
        """
        Tell what every configured server holds.
        """
        replicas = self._replica_set(storage_id)
        held = {copy.node: copy for copy in self._read(self.nodes, storage_id)}
        return [self._copy(node, held.get(node), node in replicas) for node in self.nodes]

    def close(self) -> None:
        """
        Close all connections that are not in use.
        """
        for node in self.nodes:
            node.close()

    def _key(self, storage_id: str) -> bytes:
        return self._prefix + storage_id.encode()

    def _replica_set(self, storage_id: str) -> list[Node]:
        return [self.nodes[index] for index in self._placement.replica_set(storage_id)]

    def _read(self, nodes: Sequence[Node], storage_id: str) -> list[_Held]:
        key = self._key(storage_id)
        send = partial(Connection.send_get, key=key)
        replies = exchange([Request(node, send, key) for node in nodes])
        return [
            _Held(node, reply.cas, self._record(storage_id, node, reply))
            for node, reply in zip(nodes, replies, strict=True)
            if reply is not None
        ]

    def _record(self, storage_id: str, node: Node, reply: Reply) -> Record | None:
        if reply.status != b"VA":
            return None
        try:
            return wire.unpack(storage_id, reply.value)
        except wire.ForeignValue:
            suspicious.report("A value that is no session of ours", f"memcached at {node.name}")
            return None
        except wire.NewerFormat:
            raise StoreUnavailable(
                f"memcached at {node.name} holds a session written by a newer version of "
                "django-distsession, which this version leaves alone. Upgrade this server too."
            ) from None

    def _agree(self, storage_id: str, records: Sequence[Record]) -> Record | None:
        first = records[0]
        if all(record.version == first.version for record in records):
            return first
        ended = [record for record in records if record.ended]
        if ended:
            return max(ended, key=lambda record: record.version)
        merged = self._merge(storage_id, records)
        if merged is None:
            return None
        # Whether the store behind this one knows all of it, nobody has checked yet.
        return replace(merged, unsynced=any(record.unsynced for record in records))

    def _repair(
        self, storage_id: str, agreed: Record, differing: Sequence[_Held], tokens: Tokens
    ) -> bool:
        """
        Write `agreed` to the replicas that differ, and their new tokens into `tokens`.

        False if one of them changed meanwhile. One that fails now counts as not reached.
        """
        replies = self._send(
            storage_id,
            agreed,
            [
                (copy.node, ALWAYS if agreed.ended else _condition(copy.cas))
                for copy in differing
            ],
        )
        for copy, reply in zip(differing, replies, strict=True):
            if reply is None:
                del tokens[copy.node]
            elif reply.status != b"HD":
                return False
            else:
                tokens[copy.node] = reply.cas
        if len(tokens) < self._quorum:
            raise self._unavailable(len(tokens))
        return True

    def _write(self, storage_id: str, record: Record, tokens: Tokens) -> Tokens:
        nodes = self._replica_set(storage_id)
        replies = self._send(
            storage_id, record, [(node, _condition(tokens.get(node, 0))) for node in nodes]
        )
        reached = {
            node: reply for node, reply in zip(nodes, replies, strict=True) if reply is not None
        }
        if any(reply.status != b"HD" for reply in reached.values()):
            return self._after_conflict(storage_id, record)
        if len(reached) < self._quorum:
            raise self._unavailable(len(reached))
        return {node: reply.cas for node, reply in reached.items()}

    def _after_conflict(self, storage_id: str, record: Record) -> Tokens:
        # Reading brings what half arrived together with what was there. Where nothing but this
        # very record comes out (the others had lost theirs, or were behind), it stands.
        found = self.get(storage_id)
        if found is not None and found.record.version == record.version:
            tokens: Tokens = found.token
            return tokens
        raise Conflict(found)

    def _send(
        self, storage_id: str, record: Record, conditions: Sequence[tuple[Node, bytes]]
    ) -> list[Reply | None]:
        key = self._key(storage_id)
        value = wire.pack(storage_id, record)
        ttl = self._ttl(record.expires_at)
        return exchange(
            [
                Request(
                    node,
                    partial(
                        Connection.send_set, key=key, value=value, ttl=ttl, condition=condition
                    ),
                    key,
                    len(value),
                )
                for node, condition in conditions
            ]
        )

    def _ttl(self, expires_at: int) -> int:
        remaining = max(expires_at - int(self._clock()), 0) + CLOCK_SKEW
        return expires_at + CLOCK_SKEW if remaining > LONGEST_RELATIVE_TTL else remaining

    def _unavailable(self, reached: int) -> StoreUnavailable:
        return StoreUnavailable(
            f"{reached} of this session's memcached servers answered, {self._quorum} must. "
            "See SessionStore.status() for which are down."
        )

    def _copy(self, node: Node, held: _Held | None, replica: bool) -> Copy:
        if held is None:
            return Copy("memcached", node.name, "unavailable", replica=replica)
        if held.record is None:
            return Copy("memcached", node.name, "absent", replica=replica)
        record = held.record
        return Copy(
            "memcached",
            node.name,
            "ended" if record.ended else "live",
            None if record.ended else record.version,
            replica,
            {"size": wire.HEADER.size + len(record.origin) + len(record.payload)},
        )


def _condition(cas: int) -> bytes:
    return b"C%d" % cas if cas else IF_ABSENT
