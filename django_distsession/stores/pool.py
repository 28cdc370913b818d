"""
A bounded pool of connections. A full one waits instead of failing.

pymemcache's own, for one, fails at once when it is full, and loses a slot for good when a
`BaseException` interrupts an exchange. Exceptions out of signal handlers, or thrown into a thread,
come between any two steps of the interpreter, inside `threading.Condition` too, whose lock then
stays held for ever. So nothing here is locked: all that threads share are deques, whose single
operations are atomic, and a slot belongs to an object that gives it back when it is forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar
from weakref import ref

from .deadline import Deadline
from .sleeper import Sleeper

# A connection that got lost on its way to somebody who waits wakes nobody up, so whoever waits
# looks for himself this often, in seconds.
LOOK_AGAIN = 0.05


class Connection(Protocol):
    """
    What a pool needs to know of a connection. It closes itself when nobody refers to it any more.

    slot: kept for the pool.
    """

    slot: object

    @property
    def is_fresh(self) -> bool:
        """
        Whether it is open, and nothing waits to be read.
        """

    def open(self, deadline: Deadline) -> None:
        """
        Get ready for an exchange.
        """

    def close(self) -> None:
        """
        Close it; do nothing if that was done before.
        """


C = TypeVar("C", bound=Connection)


class _Slot(tuple["ref[Pool[C]]"], Generic[C]):
    """
    The right to have one connection. Whatever becomes of its holder, the pool gets it back.

    A tuple, since one is made whole in a single step that nothing can interrupt.
    """

    __slots__ = ()

    def __del__(self) -> None:
        pool = self[0]()
        if pool is not None:
            # By its type: at the end of the process the module's names are gone.
            pool._free_slot(type(self)(self))


class _Waiter(Sleeper, Generic[C]):
    """
    Somebody who waits. connection: the one that was handed over, if one was.
    """

    __slots__ = ("connection",)

    def __init__(self) -> None:
        super().__init__()
        self.connection: C | None = None


class Pool(Generic[C]):
    """
    connect: makes a connection that is not open yet. size: how many there may be at once.
    """

    def __init__(self, connect: Callable[[], C], size: int) -> None:
        self._connect = connect
        self._size = size
        self._idle: deque[C] = deque()
        self._waiting: deque[_Waiter[C]] = deque()
        itself = ref(self)
        self._free: deque[_Slot[C]] = deque(_Slot((itself,)) for _ in range(size))

    @property
    def busy(self) -> int:
        """
        How many connections are in use.
        """
        return self._size - len(self._free) - len(self._idle)

    def acquire(self, deadline: Deadline, is_wanted: Callable[[], bool] = lambda: True) -> C:
        """
        Return an open connection. It must come back by `release` or `discard`.

        `PoolExhausted` if no slot was free by the deadline, `NotWanted` if it was no longer wanted
        before one was.
        """
        connection = self._take_or_make() or self._wait(deadline, is_wanted)
        if connection.is_fresh:
            return connection
        try:
            connection.open(deadline)
        except BaseException:
            self.discard(connection)
            raise
        return connection

    def pop(self) -> C | None:
        """
        Return a connection that lies idle, if there is one. It may have to be discarded, since its
        server closed it.
        """
        try:
            # The youngest first: under little load the server may have closed the others.
            return self._idle.pop()
        except IndexError:
            return None

    def release(self, connection: C) -> None:
        """
        Take back a connection whose exchange is complete.
        """
        # Straight to whoever has waited longest, or else busy threads would hand a connection to
        # themselves for ever.
        if self._waiting and (waiter := self._next_waiter()):
            waiter.connection = connection
            waiter.wake()
            return
        self._idle.append(connection)
        # Whoever began to wait meanwhile has looked for idle ones before or after this one came.
        if self._waiting:
            self._wake_next()

    def discard(self, connection: C) -> None:
        """
        Close a connection whose exchange was cut short: a late reply must meet no reader.
        """
        connection.close()
        # Gives the slot back, unless that was done before.
        connection.slot = None

    def close(self) -> None:
        """
        Close the connections that nobody uses.
        """
        while connection := self.pop():
            self.discard(connection)

    def _take_or_make(self) -> C | None:
        while idle := self.pop():
            if idle.is_fresh:
                return idle
            self.discard(idle)
        try:
            slot = self._free.pop()
        except IndexError:
            return None
        connection = self._connect()
        connection.slot = slot
        return connection

    def _wait(self, deadline: Deadline, is_wanted: Callable[[], bool]) -> C:
        while is_wanted():
            left = deadline.left
            if left <= 0:
                raise PoolExhausted
            connection = self._wait_once(min(left, LOOK_AGAIN))
            if connection is not None:
                return connection
        raise NotWanted

    def _wait_once(self, seconds: float) -> C | None:
        waiter: _Waiter[C] = _Waiter()
        found, is_woken = None, False
        self._waiting.append(waiter)
        try:
            found = self._take_or_make()
            is_woken = found is None and waiter.sleep(seconds)
        finally:
            handed = self._leave(waiter, is_woken)
        if found is None:
            return handed
        # The turn that was called is for the next one.
        if handed is not None:
            self.release(handed)
        elif self._waiting and (self._idle or self._free):
            self._wake_next()
        return found

    def _leave(self, waiter: _Waiter[C], is_woken: bool) -> C | None:
        try:
            self._waiting.remove(waiter)
        except ValueError:
            if not is_woken:
                # Its turn was just called, and a connection may be about to be handed over.
                waiter.sleep(LOOK_AGAIN)
        return waiter.connection

    def _next_waiter(self) -> _Waiter[C] | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _wake_next(self) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.wake()

    def _free_slot(self, slot: _Slot[C]) -> None:
        self._free.append(slot)
        if self._waiting:
            self._wake_next()


class PoolExhausted(Exception):
    """
    All connections were in use for longer than anybody should wait.
    """


class NotWanted(Exception):
    """
    Whoever waited for a connection has no use for one any more.
    """
