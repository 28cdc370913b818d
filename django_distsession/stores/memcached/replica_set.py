"""
Where one session lives: what its servers are asked about it, and what they say.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from ... import suspicious
from ...exceptions import StoreUnavailable
from ...observing import RecordRefused
from ..abilities import Copy
from ..reconcile import are_same
from ..record import Record
from . import wire
from .exchange import Exchange
from .node import STORE, Node
from .protocol import DELETE, GET, IF_CAS, MISS, VALUE, Reply


class ReplicaCopy(NamedTuple):
    """
    What one server answered: its cas token (0: it has nothing) and what could be read of it.

    record: expires when the server says so, where that is later than this process's clock makes of
    it. stored: the same, as the server holds it. ttl: for how many seconds more the server keeps
    it.
    """

    node: Node
    cas: int
    record: Record | None = None
    stored: Record | None = None
    ttl: int = 0

    def is_source_of(self, agreed: Record) -> bool:
        """
        Whether what replicas agreed on is this copy, if perhaps retained for longer.
        """
        return self.record is not None and agreed == self.record.retained_until(agreed.retain_until)

    def differs_from(self, agreed: Record) -> bool:
        """
        Whether this replica has to be written to. Damage leaves the version as it was.
        """
        return (
            self.record is None
            or not are_same(self.record, agreed)
            or self.record.retain_until < agreed.retain_until
        )


class Tokens(dict[Node, int]):
    """
    For each replica that was reached, its cas token. record: what they hold, if anything.
    before: the tokens of what they held before a repair brought them together.
    restarts: how many restarts were known of before they were read; None if they were not.
    """

    restarts: int | None = None
    record: Record | None = None
    before: Mapping[Node, int] = {}


class ReplicaSet:
    """
    The servers that hold a session, and what it is called there.

    of: what its records say of whose they are. questions: what every load asks, so they are kept.
    """

    __slots__ = ("key", "of", "questions", "replicas", "storage_id")

    def __init__(self, replicas: Sequence[Node], key: bytes, storage_id: str) -> None:
        self.replicas = replicas
        self.key = key
        self.storage_id = storage_id
        self.of = wire.fingerprint(storage_id)
        self.questions = [(node, GET % key) for node in replicas]

    def asking(self, nodes: Sequence[Node], until: float, *, insists: bool = False) -> Exchange:
        """
        Return the exchange that asks servers, be they replicas or not, what they hold.
        """
        commands = [(node, GET % self.key) for node in nodes]
        return Exchange(self.key, commands, until, insists=insists)

    def deleting(self, tokens: Tokens, until: float) -> Exchange:
        """
        Return the exchange that deletes the session from servers that still hold what these cas
        tokens came with.
        """
        command = DELETE % self.key
        commands = [(node, command + IF_CAS % cas) for node, cas in tokens.items() if cas]
        return Exchange(self.key, commands, until, insists=True, restarts=tokens.restarts)

    def read(self, node: Node, reply: Reply, now: float) -> ReplicaCopy:
        """
        Return what a server's reply says. `StoreUnavailable` if this code is too old to tell.
        """
        status, cas, value, ttl = reply
        if status != VALUE:
            return ReplicaCopy(node, cas)
        try:
            stored = wire.unpack(self.of, value)
        except wire.ForeignValue:
            suspicious.report("A value that is no session of ours", f"memcached at {node.name}")
            if node.tell:
                node.tell(RecordRefused(STORE, "foreign"))
            return ReplicaCopy(node, cas)
        except wire.NewerFormat:
            if node.tell:
                node.tell(RecordRefused(STORE, "newer format"))
            raise StoreUnavailable(
                f"memcached at {node.name} holds a session written by a newer version of "
                "django-distsession, which this version leaves alone. Upgrade this server too."
            ) from None
        skew = wire.skew(stored, now, ttl)
        record = stored._replace(expires_at=stored.expires_at + skew) if skew else stored
        return ReplicaCopy(node, cas, record, stored, ttl)

    def copy(self, node: Node, reply: Reply | None, now: float) -> Copy:
        """
        Tell people what a server holds.
        """
        copy = partial(Copy, "memcached", node.name, replica=node in self.replicas)
        if reply is None:
            return copy("unavailable")
        try:
            record = self.read(node, reply, now).record
        except StoreUnavailable as newer:
            return copy("unavailable", detail={"reason": str(newer)})
        if record is None:
            return copy("absent")
        return copy(
            "ended" if record.ended else "live",
            version=None if record.ended else record.version,
            detail={"size": wire.HEADER.size + len(record.source_rev) + len(record.payload)},
        )

    def silent(self, answered: Container[Node]) -> list[Node]:
        """
        Return the replicas that may hold the session, but for those that answered.
        """
        # Whether they are up has no say in it: they may have come back without being asked again,
        # or have been given too little time.
        return [
            node for node in self.replicas if node not in answered and not node.is_known_empty()
        ]

    def unavailable(self, reached: int, quorum: int) -> StoreUnavailable:
        """
        Return the error that too few of the replicas answered.
        """
        errors = [
            f"{node.name}: {(node.breaker.status().last_error or 'no error').rstrip('.')}"
            for node in self.replicas
        ]
        return StoreUnavailable(
            f"{reached} of this session's memcached servers answered, {quorum} must. "
            f"Their latest errors: {'; '.join(errors).rstrip('.')}."
        )

    def unknown(self, silent: Sequence[Node]) -> StoreUnavailable:
        """
        Return the error that servers which may hold the session did not answer.
        """
        names = ", ".join(node.name for node in silent)
        return StoreUnavailable(
            f"memcached at {names} may hold this session and does not answer; the others do not "
            "hold it, or hold an older copy."
        )


def answers(replies: Sequence[Reply | None]) -> list[Reply | None]:
    """
    Return replies to a question, None for those that are no answer.
    """
    return [
        reply if reply is not None and reply.status in (VALUE, MISS) else None for reply in replies
    ]
