"""
What a store is: four methods, between a session and the place where its record lives.

A store knows records, versions and tokens; it knows neither Django nor what is in a payload. What
only some stores can do besides is in `abilities`. `memory` is a whole store, to be read and copied,
and `django_distsession.testing` has what is promised here as tests for any store.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ..exceptions import StoreError
from .record import Record

# What a store needs to compare and swap. Opaque to everybody but the store that made it.
Token = Any

# Brings differing live copies of one session together: storage id and records to the record of
# their merge. None when not one of them can be decoded. A store with several copies is given one.
Merge = Callable[[str, Sequence[Record]], Record | None]


class Versioned(NamedTuple):
    """
    A record, and the token with which exactly this record can be replaced.
    """

    record: Record
    token: Token


class Conflict(StoreError):
    """
    What is stored is not what the token came with, and was not replaced.

    current: what the store holds now, so that the caller merges without another read; None where
        it holds nothing any more.
    applied: whether the store knows that it took the record all the same, and that others who had
        read it replaced it since. False means that this is not known.
    """

    def __init__(self, current: Versioned | None, *, applied: bool = False) -> None:
        self.current = current
        self.applied = applied
        super().__init__("The session was changed by another request.")


class Store(Protocol):
    """
    Where records live, by storage id: 8 to 128 lower-case letters and digits. One store object
    serves all threads of a process, and goes on serving in a forked child.

    Every method raises `StoreUnavailable` if the store cannot be reached, and for that reason
    alone. Nobody knows then whether a write took place. Repeating it with the same arguments is
    safe: where the very version to be written is stored already, `add` and `replace` return the
    token of that, as if they had just written it.
    """

    @abstractmethod
    def get(self, storage_id: str) -> Versioned | None:
        """
        Return what is stored, tombstones included.

        None means that the store answered, and holds nothing that can be read. It never means an
        outage. A record may be forgotten once its `retention_deadline` has passed.
        """

    @abstractmethod
    def add(self, storage_id: str, record: Record) -> Token:
        """
        Store the first record of a session, and return its token.

        `Conflict` if anything is stored, a tombstone or an expired record included. Of several
        who add at once, one wins. `RecordTooLarge` if it will not fit.
        """

    @abstractmethod
    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        """
        Store a record in place of the one that came with `token`, and return its token.

        `Conflict` if that one is not stored any more. `RecordTooLarge` if the new one will not
        fit; then the old one stays. Once this returned, every later `get` returns the record, or
        one that somebody made of it: its successor, a merge that contains it, a tombstone.
        """

    @abstractmethod
    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        """
        Put a tombstone over whatever is stored, to be kept until `expires_at`.

        Once this returned, every later `get` returns the tombstone until then, and no token from
        before is good for anything. Where nothing is stored, nothing need be left.

        token: what the caller has read may save the store a read. It need not be up to date.
        """
