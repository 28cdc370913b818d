"""
A database, or an index, that is missing when it is first used: it is set up, and what was asked is
asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ...exceptions import StoreError, StoreMisconfigured, StoreUnavailable
from ..deadline import Deadline
from ..operations import Call, Operation, run
from .client import AnswerUnexpected, Client, DatabaseMissing, DesignMissing
from .designs.setup import COMMAND, URL, SetUp, check_address

# What may be mended by a set-up, and what may come of an address that is none of CouchDB's.
NOT_READY = (DatabaseMissing, DesignMissing, AnswerUnexpected)

T = TypeVar("T")


class FirstUse:
    """
    client: for the request path. set_up: makes what is missing.
    """

    def __init__(self, client: Client, set_up: SetUp) -> None:
        self._client = client
        self._set_up = set_up

    def retry_gen(
        self, error: StoreError, deadline: Deadline, operation: Callable[[Deadline], Operation[T]]
    ) -> Operation[T]:
        """
        Set up what `error`, one of `NOT_READY`, says is missing, and make the operation that it
        came from once more, by a deadline of its own: a set-up takes what it takes.
        """
        if isinstance(error, AnswerUnexpected):
            yield Call(check_address, self._client, URL, deadline, error)
            raise error
        yield Call(self._set_up.run)
        try:
            return (yield from operation(self._client.deadline()))
        except DesignMissing as still:
            raise StoreMisconfigured(
                f"A design document of the CouchDB database {self._client.name!r} is older than "
                f'this code, and lacks an index. Run "{COMMAND}".'
            ) from still
        except DatabaseMissing as still:
            raise StoreUnavailable(
                f"CouchDB at {self._client.place} does not show what was just set up."
            ) from still

    def ready(self, ask: Callable[[Deadline], T], deadline: Deadline) -> T:
        """
        Ask, blocking; where something is missing, once more.
        """

        def operation(deadline: Deadline) -> Operation[T]:
            result: T = yield Call(ask, deadline)
            return result

        try:
            return ask(deadline)
        except NOT_READY as error:
            return run(self.retry_gen(error, deadline, operation))
