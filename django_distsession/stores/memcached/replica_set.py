"""
Where one session lives: what its servers are asked and told about it, and what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import TypeGuard

from ... import suspicious
from ...exceptions import StoreUnavailable
from ..abilities import Copy
from ..deadline import Deadline
from ..record import Record
from . import wire
from .agreement import Held
from .exchange import Command, exchange
from .node import Node
from .protocol import MISS, REFUSED, VALUE, Reply, delete_command, get_command, set_command

# Conditions under which a server takes a record.
ALWAYS, IF_ABSENT = b"", b" ME"


class ReplicaSet:
    """
    The servers that hold a session, and what it is called there.
    """

    __slots__ = ("_fingerprint", "_questions", "key", "replicas", "storage_id")

    def __init__(self, replicas: Sequence[Node], key: bytes, storage_id: str) -> None:
        self.replicas = replicas
        self.key = key
        self.storage_id = storage_id
        # What its records say of whose they are.
        self._fingerprint = wire.fingerprint(storage_id)
        # Every load asks them, so they are kept.
        self._questions = self._to(replicas)

    def ask(
        self,
        deadline: Deadline,
        nodes: Sequence[Node] | None = None,
        is_asked: Callable[[Node], bool] | None = None,
    ) -> list[Reply | None]:
        """
        Ask what they hold: all replicas, or these servers, be they replicas or not.
        """
        commands = self._questions if nodes is None else self._to(nodes)
        return exchange(self.key, commands, deadline, is_asked=is_asked)

    def _to(self, nodes: Sequence[Node]) -> list[Command]:
        command = get_command(self.key)
        return [(node, command) for node in nodes]

    def read(self, node: Node, reply: Reply, now: float) -> Held:
        """
        Return what a server's reply says. `StoreUnavailable` if this code is too old to tell.
        """
        status, cas, value, ttl = reply
        if status != VALUE:
            return Held(node, cas, None)
        try:
            record = wire.unpack(self._fingerprint, value)
        except wire.ForeignValue:
            suspicious.report("A value that is no session of ours", f"memcached at {node.name}")
            return Held(node, cas, None)
        except wire.NewerFormat:
            raise StoreUnavailable(
                f"memcached at {node.name} holds a session written by a newer version of "
                "django-distsession, which this version leaves alone. Upgrade this server too."
            ) from None
        skew = wire.skew(record, now, ttl)
        if skew:
            record = record._replace(expires_at=record.expires_at + skew)
        return Held(node, cas, record, skew, ttl)

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

    def write(
        self,
        record: Record,
        conditions: Sequence[tuple[Node, bytes]],
        ttl: int,
        deadline: Deadline,
        *,
        repair: bool = False,
    ) -> list[Reply | None]:
        """
        Send a record to servers, each of which takes it under a condition.

        ttl: as memcached takes it. repair: whether they only lacked what others had.
        """
        value = wire.pack(self._fingerprint, record)
        command = set_command(self.key, value, ttl)
        commands = [(node, command + condition) for node, condition in conditions]
        body = value + b"\r\n"
        replies = exchange(self.key, commands, deadline, body, is_asked=Node.is_worth_a_write)
        for (node, _), reply in zip(conditions, replies, strict=True):
            reached = reply is not None and reply.status != REFUSED
            node.count_write(reached, is_done(reply), repair)
        return replies

    def delete(self, tokens: Mapping[Node, int], deadline: Deadline) -> list[Reply | None]:
        """
        Delete the session from servers that still hold what these cas tokens came with.
        """
        commands = [
            (node, delete_command(self.key, condition(cas))) for node, cas in tokens.items() if cas
        ]
        return exchange(self.key, commands, deadline, is_asked=Node.is_worth_a_write)

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


def filled_in(replies: Sequence[Reply | None], late: Sequence[Reply | None]) -> list[Reply | None]:
    """
    Return replies with those of the silent servers, in their order, from a second round.
    """
    more = iter(late)
    return [next(more) if reply is None else reply for reply in replies]


def answers(replies: Sequence[Reply | None]) -> list[Reply | None]:
    """
    Return replies to a question, None for those that are no answer.
    """
    return [
        reply if reply is not None and reply.status in (VALUE, MISS) else None for reply in replies
    ]


def is_done(reply: Reply | None) -> bool:
    """
    Whether a server did what it was asked.
    """
    return reply is not None and reply.status == b"HD"


def condition(cas: int | None) -> bytes:
    """
    Return the condition that a server still holds what this token came with, or holds nothing.
    """
    return b" C%d" % cas if cas else IF_ABSENT


def are_alike(replies: Sequence[Reply | None]) -> TypeGuard[Sequence[Reply]]:
    """
    Whether all servers answered, and hold the same bytes, of which there are some.
    """
    # Where there is no value, it matters what they say instead.
    values = [None if reply is None else reply.value for reply in replies]
    return bool(values[0]) and values.count(values[0]) == len(values)
