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
from typing import Any, NamedTuple, TypeGuard

from ... import suspicious
from ...exceptions import RecordTooLarge, StoreUnavailable
from ..base import CacheStore, Conflict, Copy, Found, Merge, Record, Token
from . import wire
from .agreement import Held, Repair, agree
from .connection import (
    Connection,
    Reply,
    delete_command,
    get_command,
    parse_server,
    set_command,
)
from .exchange import Command, exchange
from .listing import Listing
from .node import Node
from .placement import Placement

# How often copies that keep changing under a reader are read again.
MAX_TRIES = 30
LONGEST_PAUSE = 0.02

ALWAYS, IF_ABSENT = b"", b" ME"

# Of how many sessions a store remembers where they live: a request that loads and saves its
# session asks for that twice.
PLACES = 1024

# For each replica that was reached, its cas token.
Tokens = dict[Node, int]


class Place(NamedTuple):
    """
    Where a session lives. fingerprint: what its records say of whose they are. questions: what to
    send to all replicas in order to read it.
    """

    replicas: Sequence[Node]
    key: bytes
    fingerprint: bytes
    questions: Sequence[Command]


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
        replies = exchange(place.key, place.questions)
        if not _are_alike(replies):
            return self._settle(storage_id, place, replies=replies)[0]
        # As they nearly always are: one look at one of them is enough. At that with the least time
        # left, since a server that just woke up counts by a clock that stood still.
        held = self._held(place, place.replicas[0], min(replies, key=attrgetter("ttl")))
        if held.record is None:
            return None
        tokens = {node: reply.cas for node, reply in zip(place.replicas, replies, strict=True)}
        return Found(held.record, tokens)

    def refresh(self, storage_id: str, at_least: int) -> Found | None:
        """
        Read again, those replicas too that are left out at present.
        """
        nodes = self._place(storage_id).replicas
        for node in nodes:
            if not node.health.is_up:
                node.health.probe_now()
        found = self.get(storage_id)
        if found is None or found.record.version.generation < at_least:
            silent = [node for node in nodes if not node.health.is_up and not node.health.is_gone]
            if silent:
                raise self._unavailable(storage_id, len(nodes) - len(silent))
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
        replies = self._send(
            place, record, [(node, _condition(tokens.get(node))) for node in place.replicas]
        )
        taken: Tokens = {}
        for node, reply in zip(place.replicas, replies, strict=True):
            if reply is None:
                continue
            if reply.status != b"HD":
                return self._after_conflict(storage_id, record)
            taken[node] = reply.cas
        if len(taken) < self._quorum:
            raise self._unavailable(storage_id, len(taken))
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
        replies = self._send(place, tombstone, [(node, ALWAYS) for node in place.replicas])
        taken = sum(reply is not None and reply.status == b"HD" for reply in replies)
        if taken < self._quorum:
            raise self._unavailable(storage_id, taken)

    def discard(self, storage_id: str, token: Token) -> None:
        """
        Delete the session on the replicas that it was read from.
        """
        key = self._place(storage_id).key
        tokens: Tokens = token
        replies = exchange(
            key,
            [(node, delete_command(key, _condition(cas))) for node, cas in tokens.items() if cas],
        )
        if any(reply is not None and reply.status == b"EX" for reply in replies):
            raise Conflict(self.get(storage_id))

    def repair(self, storage_id: str, stray: Node | None = None) -> Repair:
        """
        Bring the replicas together, as a read does, and tell what there was to do.

        stray: a server that holds a copy; if it is no replica, its copy is taken into account.
        """
        place = self._place(storage_id)
        extra = [] if stray is None or stray in place.replicas else [stray]
        found, written = self._settle(storage_id, place, extra=extra)
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
        replies = self._ask(self.nodes, place)
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
        key = self._prefix + storage_id.encode()
        questions = [(node, get_command(key)) for node in replicas]
        return Place(replicas, key, wire.fingerprint(storage_id), questions)

    def _settle(
        self,
        storage_id: str,
        place: Place,
        *,
        extra: Sequence[Node] = (),
        replies: Sequence[Reply | None] | None = None,
    ) -> tuple[Found | None, int]:
        """
        Return what the replicas hold, once they hold the same, and how many were written to.

        extra: other servers whose copies are read too. replies: what they just answered.
        """
        written = 0
        # In the order of the settings, lest two threads wait for each other's connections.
        nodes = [node for node in self.nodes if node in place.replicas or node in extra]
        for attempt in range(MAX_TRIES):
            if attempt or replies is None:
                replies = self._ask(nodes, place)
            held = self._what_is_held(place, nodes, replies)
            reached = [copy for copy in held if copy.node in place.replicas] if extra else held
            if len(reached) < self._quorum:
                raise self._unavailable(storage_id, len(reached))
            agreed = agree(storage_id, held, self._merge)
            if agreed is None:
                return None, written
            tokens = {copy.node: copy.cas for copy in reached}
            differing = [copy for copy in reached if copy.differs_from(agreed)]
            if not differing:
                return Found(agreed, tokens), written
            try:
                repaired = self._repair(storage_id, agreed, differing, tokens, held)
            except RecordTooLarge:
                # Copies that fit each, but not together. Whoever reads merges them anew, until
                # a save is told that the session is too large.
                return Found(agreed, tokens), written
            written += repaired or 0
            if repaired is not None:
                return Found(agreed, tokens), written
            time.sleep(random.uniform(0, LONGEST_PAUSE * attempt / MAX_TRIES))  # noqa: S311
        raise StoreUnavailable("A session in memcached kept changing while it was read.")

    def _ask(self, nodes: Sequence[Node], place: Place) -> list[Reply | None]:
        command = get_command(place.key)
        return exchange(place.key, [(node, command) for node in nodes])

    def _what_is_held(
        self, place: Place, nodes: Sequence[Node], replies: Sequence[Reply | None]
    ) -> list[Held]:
        return [
            self._held(place, node, reply)
            for node, reply in zip(nodes, replies, strict=True)
            if reply is not None
        ]

    def _held(self, place: Place, node: Node, reply: Reply) -> Held:
        status, cas, value, ttl = reply
        if status != b"VA":
            return Held(node, cas, None)
        try:
            record = wire.unpack(place.fingerprint, value)
        except wire.ForeignValue:
            suspicious.report("A value that is no session of ours", f"memcached at {node.name}")
            return Held(node, cas, None)
        except wire.NewerFormat:
            raise StoreUnavailable(
                f"memcached at {node.name} holds a session written by a newer version of "
                "django-distsession, which this version leaves alone. Upgrade this server too."
            ) from None
        skew = wire.skew(record, self._clock(), ttl)
        if skew:
            record = record._replace(expires_at=record.expires_at + skew)
        return Held(node, cas, record, skew, ttl)

    def _repair(
        self,
        storage_id: str,
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
        ttl = None
        source = next((copy for copy in held if copy.record is agreed and copy.ttl >= 0), None)
        if source is not None:
            # As it stands there, and for as long: this process's clock has no say in it.
            agreed = agreed._replace(expires_at=agreed.expires_at - source.skew)
            ttl = wire.as_exptime(source.ttl, self._clock())
        replies = self._send(
            self._place(storage_id),
            agreed,
            [(copy.node, ALWAYS if agreed.ended else _condition(copy.cas)) for copy in differing],
            repair=True,
            ttl=ttl,
        )
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
            raise self._unavailable(storage_id, len(tokens))
        return written

    def _after_conflict(self, storage_id: str, record: Record) -> Tokens:
        # Reading brings what half arrived together with what was there. Where nothing but this
        # very record comes out (the others had lost theirs, or were behind), it stands.
        found = self.get(storage_id)
        if found is not None and found.record.version == record.version:
            tokens: Tokens = found.token
            return tokens
        raise Conflict(found)

    def _send(
        self,
        place: Place,
        record: Record,
        conditions: Sequence[tuple[Node, bytes]],
        repair: bool = False,
        ttl: int | None = None,
    ) -> list[Reply | None]:
        value = wire.pack(place.fingerprint, record)
        if ttl is None:
            ttl = wire.ttl(record, self._clock())
        command = set_command(place.key, value, ttl)
        replies = exchange(
            place.key,
            [(node, command + condition) for node, condition in conditions],
            value + b"\r\n",
        )
        for (node, _), reply in zip(conditions, replies, strict=True):
            node.count_write(reply is not None, reply is not None and reply.status == b"HD", repair)
        return replies

    def _unavailable(self, storage_id: str, reached: int) -> StoreUnavailable:
        nodes = self._place(storage_id).replicas
        errors = [f"{node.name}: {node.health.status().last_error or 'no error'}" for node in nodes]
        return StoreUnavailable(
            f"{reached} of this session's memcached servers answered, {self._quorum} must. "
            f"Their latest errors: {'; '.join(errors)}."
        )

    def _copy(self, place: Place, node: Node, reply: Reply | None) -> Copy:
        copy = partial(Copy, "memcached", node.name, replica=node in place.replicas)
        if reply is None:
            return copy("unavailable")
        try:
            record = self._held(place, node, reply).record
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


def _condition(cas: int | None) -> bytes:
    return b" C%d" % cas if cas else IF_ABSENT
