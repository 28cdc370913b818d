"""
What `repairsessions` asks of stores whose servers need it after an outage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable


class Repair(NamedTuple):
    """
    What bringing one session's replicas together took.

    found: whether there was anything to be read. written: how many replicas lacked the record or
    held an older one. missed: how many replicas could not be reached.
    """

    found: bool
    written: int
    missed: int


@runtime_checkable
class Replicated(Protocol):
    """
    A store that keeps each session on several servers. Those in `nodes` have a `name`.
    """

    @property
    def nodes(self) -> Sequence[Any]:
        """
        Its servers, in the order of the settings.
        """

    def list_ids(self, node: Any) -> Any:
        """
        Return a context manager that gives the storage ids of what a server holds, and knows about
        how many there are. `StoreUnavailable` if the server does not tell.
        """

    def repair(self, storage_id: str, misplaced: Any = None) -> Repair:
        """
        Bring the replicas together, as a read does, and tell what there was to do.

        misplaced: a server that holds a copy; if it is no replica, its copy is taken into account.
        """


@runtime_checkable
class Comparing(Replicated, Protocol):
    """
    A store that compares the replicas of many sessions at less cost than it repairs them.
    """

    def differing(
        self, storage_ids: Sequence[str], listed_by: Any, gone_through: Collection[Any]
    ) -> Iterator[str]:
        """
        Yield those that may need repair, or that another store may have to be told of.

        listed_by: a server that holds a copy of each. gone_through: servers of which all sessions
        have been compared before, so that a session is compared once, whoever lists it.
        """


@runtime_checkable
class Synchronizing(Protocol):
    """
    A store that may have taken writes for another one, which was away.
    """

    def sync(self, storage_id: str) -> bool:
        """
        Tell the other one of a session. Whether there was anything to tell. `StoreUnavailable` if
        it cannot be done now.
        """
