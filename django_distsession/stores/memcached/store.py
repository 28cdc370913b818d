"""
Records in memcached: replicated, versioned, compared-and-swapped.

A read asks every replica that can be reached and brings copies that differ together before it
answers. A write is done when every replica that can be reached took it. So whatever a server
slept through, the copy that it wakes up with is outvoted by its stamps, never by its luck.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from typing import Any

from ...clock import SYSTEM_CLOCK, Clock
from ...observing import Tell
from ...secret import Secret
from ...stamps import LARGEST
from ..abilities import Copy
from ..cache import CacheStore
from ..contract import Conflict, Merge, Token, Versioned
from ..operations import Operation, run
from ..record import Record
from ..repairing import Repair
from . import comparing, wire
from .channel import Channel
from .connection import FAIR_SHARE, Connection
from .exchange import Exchange, insist_gen, storing
from .listing import Listing
from .node import Node, Restarts
from .placement import Placement
from .protocol import ALWAYS, CHANGED, IF_ABSENT, IF_CAS, REFUSED, Reply, parse_server
from .reconciler import Reconciler
from .replica_set import ReplicaSet, Tokens, answers

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
    tell: for reports; None if nobody wants them.
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
        tell: Tell | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._prefix = namespace.encode() + b":"
        self._quorum, self._timeout, self._clock = quorum, timeout, clock
        self._placement = Placement(servers, replicas)
        self._replica_set = lru_cache(REPLICA_SETS)(self._find_replica_set)
        self._restarts = Restarts()
        connecting: dict[str, Any] = {
            # More than this is never left of a request's time.
            "connect_timeout": min(connect_timeout, timeout / 4),
            "credentials": credentials,
            "tls_context": tls_context,
        }
        kept: dict[str, Any] = {"pool_size": pool_size, "retry_after": retry_after}
        kept |= {"tell": tell, "clock": clock, "restarts": self._restarts}
        self.nodes = [
            Node(
                server,
                partial(Connection, parse_server(server), **connecting),
                partial(Channel, parse_server(server), patience=FAIR_SHARE * timeout, **connecting),
                timeout=timeout,
                **kept,
            )
            for server in servers
        ]
        self._reconciler = Reconciler(
            self.nodes,
            self._restarts,
            quorum=quorum,
            merge=merge,
            confirms_misses=confirms_misses,
            clock=clock,
        )

    def get_gen(self, storage_id: str) -> Operation[Versioned | None]:
        """
        Read all replicas, bring copies that differ together, repair, and only then answer.

        So what one reader saw, no later reader misses.
        """
        replica_set, clock = self._replica_set(storage_id), self._clock
        until = clock.monotonic() + self._timeout
        restarts = self._restarts.count
        replies = yield Exchange(replica_set.key, replica_set.questions, until)
        value, ttl, tokens = replies[0] and replies[0].value, LARGEST, Tokens()
        for node, reply in zip(replica_set.replicas, replies, strict=True):
            if not value or reply is None or reply.value != value:
                break
            tokens[node] = reply.cas
            # The least time left counts: after SIGCONT a clock lags.
            ttl = min(ttl, reply.ttl)
        else:
            # All hold the same, as they nearly always do.
            try:
                record = wire.unpack(replica_set.of, value)
            except (wire.ForeignValue, wire.NewerFormat):
                # Each server's is reported below.
                pass
            else:
                skew = wire.skew(record, clock.now(), ttl)
                if skew:
                    record = record._replace(expires_at=record.expires_at + skew)
                tokens.record, tokens.restarts = record, restarts
                return Versioned(record, tokens)
        found, _ = yield from self._reconciler.reconcile_gen(
            replica_set, until, replies=replies, restarts=restarts
        )
        return found

    def refresh_gen(self, storage_id: str, at_least: int) -> Operation[Versioned | None]:
        replica_set = self._replica_set(storage_id)
        found, _ = yield from self._reconciler.reconcile_gen(
            replica_set, self._until(), ask_all=True
        )
        if found is not None and found.record.version.generation < at_least:
            silent = replica_set.silent(found.token)
            if silent:
                raise replica_set.unknown(silent)
        return found

    def add_gen(self, storage_id: str, record: Record) -> Operation[Token]:
        """
        Store on all reachable replicas, provided that none of them has the session.
        """
        return self.replace_gen(storage_id, record, Tokens())

    def replace_gen(self, storage_id: str, record: Record, token: Token) -> Operation[Token]:
        """
        Compare and swap on all reachable replicas. One that was not read yet must be empty.
        """
        replica_set, clock = self._replica_set(storage_id), self._clock
        until = clock.monotonic() + self._timeout
        conditions = []
        for node in replica_set.replicas:
            cas = token.get(node)
            conditions.append((node, IF_CAS % cas if cas else IF_ABSENT))
        ttl = wire.ttl(record, clock.now())
        taken = Tokens()
        taken.record, taken.restarts = record, self._restarts.count
        exchange = storing(
            replica_set.key, replica_set.of, record, ttl, conditions, until, token.restarts
        )
        replies = yield exchange
        if replies.count(None) > len(replies) - self._quorum:
            replies = yield from insist_gen(exchange, replies)
        _, is_refused = exchange.outcome(replies, taken)
        if is_refused:
            return (yield from self._after_conflict_gen(replica_set, record, taken, until))
        if len(taken) < self._quorum:
            yield from self._put_back_gen(replica_set, replies, token, until)
            raise replica_set.unavailable(len(taken), self._quorum)
        return taken

    def end_gen(self, storage_id: str, expires_at: int, token: Token = None) -> Operation[None]:
        return self.put_tombstone_gen(storage_id, Record.tombstone(expires_at))

    def put_tombstone_gen(self, storage_id: str, tombstone: Record) -> Operation[None]:
        """
        Put this tombstone on all reachable replicas, over whatever they hold.
        """
        replica_set, until = self._replica_set(storage_id), self._until()
        conditions = [(node, ALWAYS) for node in replica_set.replicas]
        ttl = wire.ttl(tombstone, self._clock.now())
        exchange = storing(replica_set.key, replica_set.of, tombstone, ttl, conditions, until)
        replies = yield exchange
        if replies.count(None) > len(replies) - self._quorum:
            replies = yield from insist_gen(exchange, replies)
        taken, _ = exchange.outcome(replies, {})
        if taken < self._quorum:
            raise replica_set.unavailable(taken, self._quorum)

    def invalidate_gen(self, storage_id: str, token: Token) -> Operation[None]:
        """
        Delete the session on the replicas that it was read from.
        """
        replies = yield self._replica_set(storage_id).deleting(token, self._until())
        if any(reply is not None and reply.status == CHANGED for reply in replies):
            raise Conflict((yield from self.get_gen(storage_id)))

    def reachable_since(self, storage_id: str) -> float:
        times = [node.up_since() for node in self._replica_set(storage_id).replicas]
        return sorted(times)[self._quorum - 1]

    def on_recovery(self, listener: Callable[[], object]) -> None:
        for node in self.nodes:
            node.listeners.append(listener)

    def repair_gen(self, storage_id: str, misplaced: Node | None = None) -> Operation[Repair]:
        replica_set = self._replica_set(storage_id)
        extra = [] if misplaced is None or misplaced in replica_set.replicas else [misplaced]
        found, written = yield from self._reconciler.reconcile_gen(
            replica_set, self._until(), extra=extra
        )
        reached = 0 if found is None else len(found.token)
        return Repair(found is not None, written, len(replica_set.replicas) - reached)

    def repair(self, storage_id: str, misplaced: Node | None = None) -> Repair:
        return run(self.repair_gen(storage_id, misplaced))

    def list_ids(self, node: Node) -> Listing:
        return Listing(node, self._prefix)

    def differing(
        self, storage_ids: Sequence[str], listed_by: Node, gone_through: Collection[Node]
    ) -> Iterator[str]:
        replica_sets = [self._find_replica_set(storage_id) for storage_id in storage_ids]
        return comparing.differing(replica_sets, listed_by, gone_through, self._until)

    def inspect(self, storage_id: str) -> list[Copy]:
        replica_set, now = self._replica_set(storage_id), self._clock.now()
        replies = replica_set.asking(self.nodes, self._until(), insists=True).perform()
        return [
            replica_set.copy(node, reply, now)
            for node, reply in zip(self.nodes, answers(replies), strict=True)
        ]

    def status(self) -> list[dict[str, Any]]:
        return [{"store": "memcached", **asdict(node.status())} for node in self.nodes]

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def _find_replica_set(self, storage_id: str) -> ReplicaSet:
        replicas = [self.nodes[index] for index in self._placement.replica_set(storage_id)]
        return ReplicaSet(replicas, self._prefix + storage_id.encode(), storage_id)

    def _until(self) -> float:
        return self._clock.monotonic() + self._timeout

    def _after_conflict_gen(
        self, replica_set: ReplicaSet, record: Record, taken: Tokens, until: float
    ) -> Operation[Tokens]:
        """
        Return the tokens if what the replicas hold is the record, which some took; else `Conflict`.
        """
        # Reading brings what half arrived together with what was there. Where nothing but this
        # very record comes out (the others had lost theirs, or were behind), it stands.
        found, _ = yield from self._reconciler.reconcile_gen(replica_set, until)
        if found is None:
            raise Conflict(None)
        tokens: Tokens = found.token
        if found.record.version == record.version:
            return tokens
        # Where the record was replaced, whoever did that had read it. A server that restarted empty
        # counts its cas tokens anew.
        replaced = any(tokens.before.get(node, 0) > cas for node, cas in taken.items())
        raise Conflict(found, applied=replaced)

    def _put_back_gen(
        self,
        replica_set: ReplicaSet,
        replies: Sequence[Reply | None],
        tokens: Tokens,
        until: float,
    ) -> Operation[None]:
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
            ttl = wire.ttl(tokens.record, self._clock.now())
            exchange = storing(replica_set.key, replica_set.of, tokens.record, ttl, emptied, until)
            exchange.outcome((yield exchange), {}, repair=True)
