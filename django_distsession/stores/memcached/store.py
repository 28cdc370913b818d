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
from dataclasses import asdict
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any

from ...secret import Secret
from ..abilities import Copy
from ..cache import CacheStore
from ..contract import Conflict, Merge, Token, Versioned
from ..deadline import Deadline
from ..record import Record
from ..repairing import Repair
from . import wire
from .connection import Connection
from .listing import Listing
from .node import Node
from .placement import Placement
from .protocol import REFUSED, Reply, parse_server
from .reconciler import Reconciler, Tokens
from .replica_set import (
    ALWAYS,
    IF_ABSENT,
    ReplicaSet,
    answers,
    are_alike,
    condition,
    filled_in,
    is_done,
)

# Of how many sessions a store remembers where they live: a request that loads and saves its
# session asks for that twice.
REPLICA_SETS = 1024


class MemcachedStore(CacheStore):
    """
    servers: "host:port", "[ipv6]:port" or the path of a UNIX socket.
    replicas: how many of them hold each session. quorum: how many must answer and must take.
    timeout: what an operation may take, in seconds; connect_timeout: what of it goes to connecting.
    retry_after: seconds from one try of a server that is down to the next.
    confirms_misses: whether no session is said to be missing before each of its servers said so, or
        is known to have lost everything. Not needed where a durable store behind this one knows.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        namespace: str,
        merge: Merge,
        replicas: int,
        quorum: int,
        timeout: float = 1.0,
        connect_timeout: float = 0.25,
        pool_size: int = 32,
        retry_after: float = 1.0,
        credentials: Secret[tuple[str, str]] | None = None,
        tls_context: ssl.SSLContext | None = None,
        confirms_misses: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._prefix = namespace.encode() + b":"
        self._quorum = quorum
        self._timeout = timeout
        self._clock = clock
        self._placement = Placement(servers, replicas)
        self._replica_set = lru_cache(REPLICA_SETS)(self._find_replica_set)
        self.nodes = [
            Node(
                server,
                partial(
                    Connection,
                    parse_server(server),
                    # More than this is never left of a request's time.
                    connect_timeout=min(connect_timeout, timeout / 4),
                    credentials=credentials,
                    tls_context=tls_context,
                ),
                pool_size=pool_size,
                retry_after=retry_after,
                timeout=timeout,
            )
            for server in servers
        ]
        self._reconciler = Reconciler(
            self.nodes, quorum=quorum, merge=merge, confirms_misses=confirms_misses, clock=clock
        )

    def get(self, storage_id: str) -> Versioned | None:
        """
        Read all replicas, bring copies that differ together, repair, and only then answer.

        So what one reader saw, no later reader misses.
        """
        replica_set, deadline = self._replica_set(storage_id), Deadline(self._timeout)
        replies = replica_set.ask(deadline)
        if not are_alike(replies):
            return self._reconciler.reconcile(replica_set, deadline, replies=replies)[0]
        # As they nearly always are. The least time left counts: after SIGCONT a clock lags.
        reply = min(replies, key=attrgetter("ttl"))
        held = replica_set.read(replica_set.replicas[0], reply, self._clock())
        if held.record is None:
            return None
        tokens = Tokens(held.record)
        for node, reply in zip(replica_set.replicas, replies, strict=True):
            tokens[node] = reply.cas
        return Versioned(held.record, tokens)

    def refresh(self, storage_id: str, at_least: int) -> Versioned | None:
        """
        Read again, those replicas too that are left out at present.
        """
        replica_set = self._replica_set(storage_id)
        found, _ = self._reconciler.reconcile(replica_set, Deadline(self._timeout), ask_all=True)
        if found is not None and found.record.version.generation < at_least:
            silent = replica_set.silent(found.token)
            if silent:
                raise replica_set.unknown(silent)
        return found

    def add(self, storage_id: str, record: Record) -> Token:
        """
        Store on all reachable replicas, provided that none of them has the session.
        """
        return self._write(storage_id, record, Tokens())

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        """
        Compare and swap on all reachable replicas. One that was not read yet must be empty.
        """
        return self._write(storage_id, record, token)

    def _write(self, storage_id: str, record: Record, tokens: Tokens) -> Tokens:
        replica_set, deadline = self._replica_set(storage_id), Deadline(self._timeout)
        conditions = [(node, condition(tokens.get(node))) for node in replica_set.replicas]
        ttl = wire.ttl(record, self._clock())
        replies = self._insist(replica_set, record, conditions, ttl, deadline)
        taken = Tokens(record)
        is_refused = False
        for node, reply in zip(replica_set.replicas, replies, strict=True):
            if reply is None or reply.status == REFUSED:
                continue
            if is_done(reply):
                taken[node] = reply.cas
            else:
                is_refused = True
        if is_refused:
            return self._after_conflict(replica_set, record, taken, deadline)
        if len(taken) < self._quorum:
            self._put_back(replica_set, replies, tokens, deadline)
            raise replica_set.unavailable(len(taken), self._quorum)
        return taken

    def _insist(
        self,
        replica_set: ReplicaSet,
        record: Record,
        conditions: Sequence[tuple[Node, bytes]],
        ttl: int,
        deadline: Deadline,
    ) -> list[Reply | None]:
        """
        Write, and where too few servers took it, ask those that did not answer once more.
        """
        replies = replica_set.write(record, conditions, ttl, deadline)
        rest = [one for one, reply in zip(conditions, replies, strict=True) if reply is None]
        if not rest or len(conditions) - len(rest) >= self._quorum:
            return replies
        for node, _ in rest:
            node.await_answer(deadline)
        late = replica_set.write(record, rest, ttl, deadline)
        return filled_in(replies, late)

    def _put_back(
        self,
        replica_set: ReplicaSet,
        replies: Sequence[Reply | None],
        tokens: Tokens,
        deadline: Deadline,
    ) -> None:
        """
        Give the record that was read back to servers without memory for the one that was to follow
        it: memcached drops the old value when it does not take the new one.
        """
        if tokens.record is None:
            return
        emptied = [
            (node, IF_ABSENT)
            for node, reply in zip(replica_set.replicas, replies, strict=True)
            if reply is not None and reply.status == REFUSED and node in tokens
        ]
        if emptied:
            ttl = wire.ttl(tokens.record, self._clock())
            replica_set.write(tokens.record, emptied, ttl, deadline, repair=True)

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        """
        Put the tombstone on all reachable replicas, over whatever they hold.
        """
        self.put_tombstone(storage_id, Record.tombstone(expires_at))

    def put_tombstone(self, storage_id: str, tombstone: Record) -> None:
        """
        Put this tombstone on all reachable replicas, over whatever they hold.
        """
        replica_set = self._replica_set(storage_id)
        conditions = [(node, ALWAYS) for node in replica_set.replicas]
        ttl = wire.ttl(tombstone, self._clock())
        replies = self._insist(replica_set, tombstone, conditions, ttl, Deadline(self._timeout))
        taken = sum(map(is_done, replies))
        if taken < self._quorum:
            raise replica_set.unavailable(taken, self._quorum)

    def invalidate(self, storage_id: str, token: Token) -> None:
        """
        Delete the session on the replicas that it was read from.
        """
        replies = self._replica_set(storage_id).delete(token, Deadline(self._timeout))
        if any(reply is not None and reply.status == b"EX" for reply in replies):
            raise Conflict(self.get(storage_id))

    def reachable_since(self, storage_id: str) -> float:
        """
        Tell since when at least a quorum of the replicas has answered.
        """
        times = [node.up_since() for node in self._replica_set(storage_id).replicas]
        return sorted(times)[self._quorum - 1]

    def on_recovery(self, listener: Callable[[], object]) -> None:
        """
        Have `listener` called whenever a server answers again.
        """
        for node in self.nodes:
            node.listeners.append(listener)

    def repair(self, storage_id: str, misplaced: Node | None = None) -> Repair:
        """
        Bring the replicas together, as a read does, and tell what there was to do.

        misplaced: a server that holds a copy; if it is no replica, its copy is taken into account.
        """
        replica_set = self._replica_set(storage_id)
        extra = [] if misplaced is None or misplaced in replica_set.replicas else [misplaced]
        found, written = self._reconciler.reconcile(
            replica_set, Deadline(self._timeout), extra=extra
        )
        reached = 0 if found is None else len(found.token)
        return Repair(found is not None, written, len(replica_set.replicas) - reached)

    def list_ids(self, node: Node) -> Listing:
        """
        Return the storage ids of what a server holds. `StoreUnavailable` if it does not tell.
        """
        return Listing(node, self._prefix)

    def inspect(self, storage_id: str) -> list[Copy]:
        """
        Tell what every configured server holds.
        """
        replica_set = self._replica_set(storage_id)
        deadline, now = Deadline(self._timeout), self._clock()
        replies = answers(replica_set.ask(deadline, self.nodes, Node.is_worth_a_write))
        return [
            replica_set.copy(node, reply, now)
            for node, reply in zip(self.nodes, replies, strict=True)
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

    def _find_replica_set(self, storage_id: str) -> ReplicaSet:
        replicas = [self.nodes[index] for index in self._placement.replica_set(storage_id)]
        return ReplicaSet(replicas, self._prefix + storage_id.encode(), storage_id)

    def _after_conflict(
        self, replica_set: ReplicaSet, record: Record, taken: Tokens, deadline: Deadline
    ) -> Tokens:
        """
        Return the tokens if what the replicas hold is the record, which some took; else `Conflict`.
        """
        # Reading brings what half arrived together with what was there. Where nothing but this
        # very record comes out (the others had lost theirs, or were behind), it stands.
        found, _ = self._reconciler.reconcile(replica_set, deadline)
        if found is None:
            raise Conflict(None)
        tokens: Tokens = found.token
        if found.record.version == record.version:
            return tokens
        # Where the record was replaced, whoever did that had read it. A server that restarted empty
        # counts its cas tokens anew.
        replaced = any(tokens.before.get(node, 0) > cas for node, cas in taken.items())
        raise Conflict(found, applied=replaced)
