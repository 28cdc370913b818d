"""
First come, first served among the saves of one session in one process.

Saves of one session that are tried all at once make all but one of them fail, again and again. So
a save that lost once queues, and goes on from what the one before it stored, without a read of its
own; and where others queue already, a save does not even begin before its turn.

It saves work and decides nothing: compare-and-swap is what keeps saves apart, also those of other
processes. So there is no lock around it that an interruption could leave behind, and where two that
come at the same instant stand behind the same one, both go when it is done. And whoever sees no
save get on for a while goes ahead, whatever became of the others.
"""

from __future__ import annotations

from ..clock import SYSTEM_CLOCK, Clock
from ..stores import forking
from ..stores.contract import Versioned
from ..stores.deadline import Deadline
from ..stores.operations import Operation
from ..stores.waiting import Milestone, Wait

# After so many seconds without any progress, the next in a queue goes ahead.
LONGEST_TURN = 1.0


class _Queue:
    """
    moved_at: when a turn last began, by the monotonic clock.
    """

    __slots__ = ("moved_at",)

    def __init__(self, now: float) -> None:
        self.moved_at = now


class Ticket(Milestone):
    """
    A save's place in the queue of its session.

    stored: what the store holds by the save that is done; None if it failed.
    """

    __slots__ = ("_before", "_clock", "_queue", "storage_id", "stored")

    def __init__(self, storage_id: str, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__()
        self.storage_id = storage_id
        self.stored: Versioned | None = None
        self._clock = clock
        self._before: Ticket | None = None
        self._queue = _Queue(clock.monotonic())

    def follow(self, before: Ticket | None) -> None:
        """
        Stand behind another.
        """
        if before is not None:
            self._before, self._queue = before, before._queue

    def wait_gen(self, deadline: float) -> Operation[Versioned | None]:
        """
        Return what the save before this one stored, when that is done, or None.

        deadline: when to wait no longer, by the monotonic clock. The caller looks whether it has
        passed.
        """
        before, queue, monotonic = self._before, self._queue, self._clock.monotonic
        # Lest it keep all the others alive that were before it.
        self._before = None
        while before is not None and not before.is_over:
            patience = min(deadline, queue.moved_at + LONGEST_TURN) - monotonic()
            if patience <= 0:
                break
            yield Wait(before, Deadline(patience))
        queue.moved_at = monotonic()
        return before.stored if before is not None else None


class SaveQueues:
    """
    The queues of one process's sessions. There is one only where saves met.

    last: the last ticket of each, by storage id.
    """

    def __init__(self) -> None:
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Forget all queues: who waits in them may be in another process.
        """
        self.last: dict[str, Ticket] = {}

    def join(self, ticket: Ticket) -> None:
        """
        Put a ticket at the end of its session's queue.
        """
        ticket.follow(self.last.get(ticket.storage_id))
        self.last[ticket.storage_id] = ticket

    def leave(self, ticket: Ticket) -> None:
        """
        Take a ticket out of its queue, whether or not it was in there, had its turn, or is out.
        """
        ticket.finish()
        if self.last.get(ticket.storage_id) is ticket:
            self.last.pop(ticket.storage_id, None)
