"""
Records in memcached: replicated, versioned, compared-and-swapped.

A read asks every replica that can be reached and brings copies that differ together before it
answers. A write is done when every replica that can be reached took it. So whatever a server
slept through, the copy that it wakes up with is outvoted by its stamps, never by its luck.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, TypeGuard

from ...exceptions import RecordTooLarge, StoreUnavailable
from ..base import CacheStore, Conflict, Copy, Found, Merge, Record, Token
from . import wire
from .agreement import Held, Repair, agree
from .connection import Connection, Reply, parse_server
from .listing import Listing
from .node import Node
from .place import ALWAYS, Place, condition
from .placement import Placement

# How often copies that keep changing under a reader are read again.
MAX_TRIES = 30
LONGEST_PAUSE = 0.02

# Of how many sessions a store remembers where they live: a request that loads and saves its
# session asks for that twice.
PLACES = 1024

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
        self._place = lru_cache(PLACES)(self._find_place)
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
                connect_timeout=connect_timeout,
            )
            for server in servers
        ]

    def get(self, storage_id: str) -> Found | None:
        """
        Read all replicas, bring copies that differ together, repair, and only then answer.

        So what one reader saw, no later reader misses.
        """
        place = self._place(storage_id)
        replies = place.ask()
        if not _are_alike(replies):
            return self._settle(storage_id, place, replies=replies)[0]
        # As they nearly always are: one look at one of them is enough. At that with the least time
        # left, since a server that just woke up counts by a clock that stood still.
        reply = min(replies, key=attrgetter("ttl"))
        held = place.read(place.replicas[0], reply, self._clock())
        if held.record is None:
            return None
        tokens = {node: reply.cas for node, reply in zip(place.replicas, replies, strict=True)}
        return Found(held.record, tokens)

    def refresh(self, storage_id: str, at_least: int) -> Found | None:
        """
        Read again, those replicas too that are left out at present.
        """
        place = self._place(storage_id)
        nodes = place.replicas
        for node in nodes:
            if not node.health.is_up:
                node.health.probe_now()
        found = self.get(storage_id)
        if found is None or found.record.version.generation < at_least:
            silent = [node for node in nodes if not node.health.is_up and not node.health.is_gone]
            if silent:
                raise place.unavailable(len(nodes) - len(silent), self._quorum)
        return found

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

    def _write(self, storage_id: str, record: Record, tokens: Tokens) -> Tokens:
        place = self._place(storage_id)
        conditions = [(node, condition(tokens.get(node))) for node in place.replicas]
        replies = place.write(record, conditions, wire.ttl(record, self._clock()))
        taken: Tokens = {}
        is_refused = False
        for node, reply in zip(place.replicas, replies, strict=True):
            if reply is None:
                continue
            if reply.status == b"HD":
                taken[node] = reply.cas
            else:
                is_refused = True
        if is_refused:
            return self._after_conflict(storage_id, record, taken)
        if len(taken) < self._quorum:
            raise place.unavailable(len(taken), self._quorum)
        return taken

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        """
        Put the tombstone on all reachable replicas, over whatever they hold.
        """
        self.bury(storage_id, Record.tombstone(expires_at))

    def bury(self, storage_id: str, tombstone: Record) -> None:
        """
        Put this tombstone on all reachable replicas, over whatever they hold.
        """
        place = self._place(storage_id)
        conditions = [(node, ALWAYS) for node in place.replicas]
        replies = place.write(tombstone, conditions, wire.ttl(tombstone, self._clock()))
        taken = sum(reply is not None and reply.status == b"HD" for reply in replies)
        if taken < self._quorum:
            raise place.unavailable(taken, self._quorum)

    def discard(self, storage_id: str, token: Token) -> None:
        """
        Delete the session on the replicas that it was read from.
        """
        replies = self._place(storage_id).delete(token)
        if any(reply is not None and reply.status == b"EX" for reply in replies):
            raise Conflict(self.get(storage_id))

    def repair(self, storage_id: str, stray: Node | None = None) -> Repair:
        """
        Bring the replicas together, as a read does, and tell what there was to do.

        stray: a server that holds a copy; if it is no replica, its copy is taken into account.
        """
        place = self._place(storage_id)
        extra = [] if stray is None or stray in place.replicas else [stray]
        found, written, _ = self._settle(storage_id, place, extra=extra)
        reached = 0 if found is None else len(found.token)
        return Repair(found is not None, written, len(place.replicas) - reached)

    def list_ids(self, node: Node) -> Listing:
        """
        Return the storage ids of what a server holds. `StoreUnavailable` if it does not tell.
        """
        return Listing(node, self._prefix)

    def inspect(self, storage_id: str) -> list[Copy]:
        """
        Tell what every configured server holds.
        """
        place = self._place(storage_id)
        replies = place.ask(self.nodes)
        return [
            self._copy(place, node, reply) for node, reply in zip(self.nodes, replies, strict=True)
        ]

    def status(self) -> list[dict[str, Any]]:
        """
        Tell how each server is doing, as this process sees it: see `NodeStatus`.
        """
        return [{"store": "memcached", **asdict(node.status())} for node in self.nodes]

    def close(self) -> None:
        """
        Close all connections that are not in use.
        """
        for node in self.nodes:
            node.close()

    def _find_place(self, storage_id: str) -> Place:
        replicas = [self.nodes[index] for index in self._placement.replica_set(storage_id)]
        return Place(replicas, self._prefix + storage_id.encode(), storage_id)

    def _settle(
        self,
        storage_id: str,
        place: Place,
        *,
        extra: Sequence[Node] = (),
        replies: Sequence[Reply | None] | None = None,
    ) -> tuple[Found | None, int, Tokens]:
        """
        Return what the replicas hold, once they hold the same, how many were written to, and the
        tokens of what they held just before.

        extra: other servers whose copies are read too. replies: what they just answered.
        """
        written = 0
        # In the order of the settings, lest two threads wait for each other's connections.
        nodes = [node for node in self.nodes if node in place.replicas or node in extra]
        for attempt in range(MAX_TRIES):
            if attempt or replies is None:
                replies = place.ask(nodes)
            now = self._clock()
            held = [
                place.read(node, reply, now)
                for node, reply in zip(nodes, replies, strict=True)
                if reply is not None
            ]
            reached = [copy for copy in held if copy.node in place.replicas] if extra else held
            if len(reached) < self._quorum:
                raise place.unavailable(len(reached), self._quorum)
            agreed = agree(storage_id, held, self._merge)
            if agreed is None:
                return None, written, {}
            read = {copy.node: copy.cas for copy in reached}
            tokens = dict(read)
            differing = [copy for copy in reached if copy.differs_from(agreed)]
            if not differing:
                return Found(agreed, tokens), written, read
            try:
                repaired = self._repair(place, agreed, differing, tokens, held)
            except RecordTooLarge:
                # Copies that fit each, but not together. Whoever reads merges them anew, until
                # a save is told that the session is too large.
                return Found(agreed, tokens), written, read
            written += repaired or 0
            if repaired is not None:
                return Found(agreed, tokens), written, read
            time.sleep(random.uniform(0, LONGEST_PAUSE * attempt / MAX_TRIES))  # noqa: S311
        raise StoreUnavailable("A session in memcached kept changing while it was read.")

    def _repair(
        self,
        place: Place,
        agreed: Record,
        differing: Sequence[Held],
        tokens: Tokens,
        held: Sequence[Held],
    ) -> int | None:
        """
        Write `agreed` to the replicas that differ, and their new tokens into `tokens`.

        held: all copies that were read, one of which may be `agreed` itself.
        Return how many took it; None if one of them changed meanwhile. One that fails now counts
        as not reached.
        """
        now = self._clock()
        source = next((copy for copy in held if copy.record is agreed and copy.ttl >= 0), None)
        if source is None:
            ttl = wire.ttl(agreed, now)
        else:
            # As it stands there, and for as long: this process's clock has no say in it.
            agreed = agreed._replace(expires_at=agreed.expires_at - source.skew)
            ttl = wire.as_exptime(source.ttl, now)
        conditions = [
            (copy.node, ALWAYS if agreed.ended else condition(copy.cas)) for copy in differing
        ]
        replies = place.write(agreed, conditions, ttl, repair=True)
        written, changed = 0, False
        for copy, reply in zip(differing, replies, strict=True):
            if reply is None:
                del tokens[copy.node]
            elif reply.status != b"HD":
                changed = True
            else:
                tokens[copy.node] = reply.cas
                written += 1
        if changed:
            return None
        if len(tokens) < self._quorum:
            raise place.unavailable(len(tokens), self._quorum)
        return written

    def _after_conflict(self, storage_id: str, record: Record, taken: Tokens) -> Tokens:
        """
        Return the tokens if what the replicas hold is the record; else `Conflict`.

        taken: the tokens of those replicas that took it.
        """
        # Reading brings what half arrived together with what was there. Where nothing but this
        # very record comes out (the others had lost theirs, or were behind), it stands.
        found, _, read = self._settle(storage_id, self._place(storage_id))
        if found is not None and found.record.version == record.version:
            tokens: Tokens = found.token
            return tokens
        # Where the record was replaced, whoever did that had read it. A server that restarted empty
        # counts its cas tokens anew.
        replaced = any(read.get(node, 0) > cas for node, cas in taken.items())
        raise Conflict(found, applied=replaced)

    def _copy(self, place: Place, node: Node, reply: Reply | None) -> Copy:
        copy = partial(Copy, "memcached", node.name, replica=node in place.replicas)
        if reply is None:
            return copy("unavailable")
        try:
            record = place.read(node, reply, self._clock()).record
        except StoreUnavailable as newer:
            return copy("unavailable", detail={"reason": str(newer)})
        if record is None:
            return copy("absent")
        return copy(
            "ended" if record.ended else "live",
            version=None if record.ended else record.version,
            detail={"size": wire.HEADER.size + len(record.origin) + len(record.payload)},
        )


def _are_alike(replies: Sequence[Reply | None]) -> TypeGuard[Sequence[Reply]]:
    values = [None if reply is None else reply.value for reply in replies]
    return values[0] is not None and values.count(values[0]) == len(values)
