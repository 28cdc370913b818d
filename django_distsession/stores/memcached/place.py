"""
Where one session lives: what its servers are asked and told about it, and what they say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ... import suspicious
from ...exceptions import StoreUnavailable
from ..base import Record
from . import wire
from .agreement import Held
from .connection import Reply, delete_command, get_command, set_command
from .exchange import Command, exchange
from .node import Node

# Conditions under which a server takes a record.
ALWAYS, IF_ABSENT = b"", b" ME"


class Place:
    """
    The servers that hold a session, and what it is called there.
    """

    __slots__ = ("_fingerprint", "_questions", "key", "replicas")

    def __init__(self, replicas: Sequence[Node], key: bytes, storage_id: str) -> None:
        self.replicas = replicas
        self.key = key
        # What its records say of whose they are.
        self._fingerprint = wire.fingerprint(storage_id)
        # Every load asks them, so they are kept.
        self._questions = self._to(replicas)

    def ask(self, nodes: Sequence[Node] | None = None) -> list[Reply | None]:
        """
        Ask what they hold: all replicas, or these servers, be they replicas or not.
        """
        if nodes is None:
            return exchange(self.key, self._questions)
        return exchange(self.key, self._to(nodes))

    def _to(self, nodes: Sequence[Node]) -> list[Command]:
        command = get_command(self.key)
        return [(node, command) for node in nodes]

    def read(self, node: Node, reply: Reply, now: float) -> Held:
        """
        Return what a server's reply says. `StoreUnavailable` if this code is too old to tell.
        """
        status, cas, value, ttl = reply
        if status != b"VA":
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

    def write(
        self,
        record: Record,
        conditions: Sequence[tuple[Node, bytes]],
        ttl: int,
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
        replies = exchange(self.key, commands, value + b"\r\n")
        for (node, _), reply in zip(conditions, replies, strict=True):
            node.count_write(reply is not None, reply is not None and reply.status == b"HD", repair)
        return replies

    def delete(self, tokens: Mapping[Node, int]) -> list[Reply | None]:
        """
        Delete the session from servers that still hold what these cas tokens came with.
        """
        return exchange(
            self.key,
            [
                (node, delete_command(self.key, condition(cas)))
                for node, cas in tokens.items()
                if cas
            ],
        )

    def unavailable(self, reached: int, quorum: int) -> StoreUnavailable:
        """
        Return the error that too few of the replicas answered.
        """
        errors = [
            f"{node.name}: {node.health.status().last_error or 'no error'}"
            for node in self.replicas
        ]
        return StoreUnavailable(
            f"{reached} of this session's memcached servers answered, {quorum} must. "
            f"Their latest errors: {'; '.join(errors).rstrip('.')}."
        )


def condition(cas: int | None) -> bytes:
    """
    Return the condition that a server still holds what this token came with, or holds nothing.
    """
    return b" C%d" % cas if cas else IF_ABSENT
