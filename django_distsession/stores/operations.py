"""
Operations, written once for blocking code and for event loops.

An operation is a generator that does no I/O. It yields what it needs done, one request at a time,
and is sent the result; its own result is what it returns. A driver performs the requests: `run` by
blocking calls, `arun` on an event loop. psycopg 3 is built like that (`psycopg/generators.py`,
`psycopg/waiting.py`), and generators are named as there, by the suffix `_gen`.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Protocol, TypeVar

from .abilities import Refreshable
from .contract import Store, Token, Versioned
from .record import Record
from .threads import in_thread

T = TypeVar("T")


class Request(Protocol):
    """
    Something that has to be waited for.
    """

    def perform(self) -> Any:
        """
        Do it, blocking, and return the result that the operation is sent. What this raises, it
        raises in the operation.
        """

    async def aperform(self) -> Any:
        """
        Do it without blocking the event loop.
        """


Operation = Generator[Request, Any, T]


def run(operation: Operation[T]) -> T:
    """
    Drive an operation to its end by blocking calls, and return its result.
    """
    try:
        request = next(operation)
        while True:
            try:
                result = request.perform()
            except BaseException as error:
                request = operation.throw(error)
            else:
                request = operation.send(result)
    except StopIteration as done:
        returned: T = done.value
        return returned
    finally:
        # Whatever interrupts between two steps ends the operation too, and at once: the traceback
        # may keep this frame alive for long.
        operation.close()


async def arun(operation: Operation[T]) -> T:
    """
    Drive an operation to its end on the running event loop, and return its result.
    """
    try:
        request = next(operation)
        while True:
            try:
                result = await request.aperform()
            except BaseException as error:
                request = operation.throw(error)
            else:
                request = operation.send(result)
    except StopIteration as done:
        returned: T = done.value
        return returned
    finally:
        operation.close()


class Call:
    """
    A request to call a function that blocks; event loops do so on a thread. Its result is what the
    function returns.
    """

    __slots__ = ("perform",)

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.perform = partial(function, *args) if args else function

    async def aperform(self) -> Any:
        return await in_thread(self.perform)


class Pause(Call):
    """
    A request to let so many seconds pass.
    """

    __slots__ = ("_seconds",)

    def __init__(self, seconds: float) -> None:
        super().__init__(time.sleep, seconds)
        self._seconds = seconds

    async def aperform(self) -> None:
        await asyncio.sleep(self._seconds)


class GeneratorStore(Store):
    """
    A store whose operations are generators, and whose methods run them.
    """

    @abstractmethod
    def get_gen(self, storage_id: str) -> Operation[Versioned | None]:
        """
        Read, as `Store.get` promises.
        """

    @abstractmethod
    def add_gen(self, storage_id: str, record: Record) -> Operation[Token]:
        """
        Write the first record, as `Store.add` promises.
        """

    @abstractmethod
    def replace_gen(self, storage_id: str, record: Record, token: Token) -> Operation[Token]:
        """
        Compare and swap, as `Store.replace` promises.
        """

    @abstractmethod
    def end_gen(self, storage_id: str, expires_at: int, token: Token = None) -> Operation[None]:
        """
        Put a tombstone, as `Store.end` promises.
        """

    def refresh_gen(self, storage_id: str, at_least: int) -> Operation[Versioned | None]:
        """
        Read what `get_gen` may have passed by, as `Refreshable.refresh` promises.
        """
        return self.get_gen(storage_id)

    def get(self, storage_id: str) -> Versioned | None:
        return run(self.get_gen(storage_id))

    def add(self, storage_id: str, record: Record) -> Token:
        return run(self.add_gen(storage_id, record))

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        return run(self.replace_gen(storage_id, record, token))

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        run(self.end_gen(storage_id, expires_at, token))

    def refresh(self, storage_id: str, at_least: int) -> Versioned | None:
        return run(self.refresh_gen(storage_id, at_least))


class _OfBlockingStore(GeneratorStore):
    """
    The operations of a store that only has methods which block.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def get_gen(self, storage_id: str) -> Operation[Versioned | None]:
        return _call(self._store.get, storage_id)

    def add_gen(self, storage_id: str, record: Record) -> Operation[Token]:
        return _call(self._store.add, storage_id, record)

    def replace_gen(self, storage_id: str, record: Record, token: Token) -> Operation[Token]:
        return _call(self._store.replace, storage_id, record, token)

    def end_gen(self, storage_id: str, expires_at: int, token: Token = None) -> Operation[None]:
        return _call(self._store.end, storage_id, expires_at, token)

    def refresh_gen(self, storage_id: str, at_least: int) -> Operation[Versioned | None]:
        if isinstance(self._store, Refreshable):
            return _call(self._store.refresh, storage_id, at_least)
        # What keeps a single copy has shown it.
        return self.get_gen(storage_id)


def _call(function: Callable[..., T], *args: Any) -> Operation[T]:
    result: T = yield Call(function, *args)
    return result


def operations_of(store: Store) -> GeneratorStore:
    """
    Return a store's operations as generators, whether or not it has any of its own.
    """
    return store if isinstance(store, GeneratorStore) else _OfBlockingStore(store)
