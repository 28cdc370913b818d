"""
Sharing a read among all who ask for the same at the same time, in one process, as Go's
`singleflight` does.

A reader never joins a read that began before it asked: a write may have been acknowledged in
between, which the reader must see. It waits for that one to end, and shares the next with all who
waited likewise. So however many ask at once, there are two reads, and mostly the second finds in
the cache what the first put there.

A leader may be interrupted between any two steps. So nothing here is locked (see `waiting`). What
readers share are dictionaries, whose single operations are atomic; a call that its leader cannot
finish is finished when the leader's hold on it is gone; and nobody waits for longer than he would
have taken to read for himself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from ...exceptions import StoreUnavailable
from .. import forking
from ..deadline import Deadline
from ..operations import Operation
from ..waiting import Milestone, Wait

T = TypeVar("T")


class _Call(Milestone, Generic[T]):
    """
    One read, and those who wait for it.

    is_over: set before the next call's read begins. results: its result, if it got that far.
    failure: makes the error to raise, if it met an outage.
    following: the call of those who asked meanwhile, under None, if there is one.
    """

    __slots__ = ("failure", "following", "results")

    def __init__(self) -> None:
        super().__init__()
        self.results: list[T] = []
        self.failure: Callable[[], StoreUnavailable] | None = None
        self.following: dict[None, _Call[T]] = {}


class _Hold(Generic[T]):
    """
    A reader's hold on a call of its own, which is finished at the latest when this is forgotten.
    """

    __slots__ = ("_calls", "_key", "call")

    def __init__(self, calls: dict[str, _Call[T]], key: str) -> None:
        self._calls = calls
        self._key = key
        self.call: _Call[T] = _Call()

    def finish(self) -> None:
        """
        Finish it; harmless if that was done before.
        """
        _finish(self._calls, self._key, self.call)

    def __del__(self) -> None:
        # If the constructor was interrupted, nobody knows of a call.
        if hasattr(self, "call"):
            self.finish()


def _finish(calls: dict[str, _Call[T]], key: str, call: _Call[T]) -> None:
    """
    Put the following call in the place of this one, and wake those who wait for this one.

    Other threads may do the like at any moment. Whatever that leaves in the table, a reader joins
    only what follows a call that is not over yet.
    """
    following = call.following.get(None)
    if calls.get(key) is call:
        if following is None:
            calls.pop(key, None)
        else:
            calls[key] = following
            # Its leader may have been too quick, or be lost.
            if following.is_over:
                calls.pop(key, None)
    call.finish()


class SingleFlight(Generic[T]):
    """
    The reads under way, by key.
    """

    def __init__(self) -> None:
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Forget all reads: the threads that would end them may be in another process.
        """
        self._calls: dict[str, _Call[T]] = {}

    def do_gen(
        self,
        key: str,
        first: Callable[[], Operation[T]],
        later: Callable[[], Operation[T]],
        deadline: Deadline,
    ) -> Operation[T]:
        """
        Return what a read of `key` returns that began after this call did.

        first: makes the operation that reads where nobody is reading. later: the one that reads
        after waiting for others. deadline: until when to wait for others at the most.
        `StoreUnavailable` is shared too. Whatever else a read raises concerns who made it; the
        others try again.
        """
        while deadline.left > 0:
            # Before its call is known to anybody, so that whatever happens it is finished.
            hold: _Hold[T] = _Hold(self._calls, key)
            try:
                call, before = self._join(key, hold.call)
                if call is hold.call:
                    read = first if before is None else later
                    return (yield from self._lead_gen(key, call, before, deadline, read))
            finally:
                hold.finish()
            if not (yield Wait(call, deadline)):
                break
            if call.failure is not None:
                raise call.failure()
            if call.results:
                return call.results[0]
        return (yield from later())

    def _join(self, key: str, own: _Call[T]) -> tuple[_Call[T], _Call[T] | None]:
        """
        Return the call to take part in, and the one that has to be over before it begins.

        It is `own` if the caller is to lead it.
        """
        while True:
            running = self._calls.setdefault(key, own)
            if running is own:
                return own, None
            if running.is_over:
                # Left behind where two threads met.
                self._calls.pop(key, None)
                continue
            # Whatever follows a call that is not over has yet to begin.
            following = running.following.setdefault(None, own)
            if not following.is_over:
                return following, running
            # Its leader was interrupted while it waited.
            running.following.clear()

    def _lead_gen(
        self,
        key: str,
        call: _Call[T],
        before: _Call[T] | None,
        deadline: Deadline,
        read: Callable[[], Operation[T]],
    ) -> Operation[T]:
        if before is not None and not (yield Wait(before, deadline)):
            # Its leader is lost, or as good as lost.
            _finish(self._calls, key, before)
        try:
            result = yield from read()
        except StoreUnavailable as error:
            # Without its traceback, which refers to the call.
            call.failure = partial(type(error), *error.args)
            raise
        call.results.append(result)
        return result
