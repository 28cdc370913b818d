"""
A store's operations, each of which is reported when it is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..clock import Clock
from ..exceptions import RecordTooLarge, StoreUnavailable
from ..observing import OperationEnded, RecordRefused, Tell
from .contract import Conflict, Token, Versioned
from .operations import GeneratorStore, Operation
from .record import Record

T = TypeVar("T")


class ObservedStore(GeneratorStore):
    """
    name: what the store is called in reports.
    """

    def __init__(self, operations: GeneratorStore, name: str, tell: Tell, clock: Clock) -> None:
        self._operations = operations
        self._name = name
        self._tell = tell
        self._clock = clock

    def get_gen(self, storage_id: str) -> Operation[Versioned | None]:
        return self._observed_gen("get", self._operations.get_gen(storage_id), _found)

    def refresh_gen(self, storage_id: str, at_least: int) -> Operation[Versioned | None]:
        operation = self._operations.refresh_gen(storage_id, at_least)
        return self._observed_gen("refresh", operation, _found)

    def add_gen(self, storage_id: str, record: Record) -> Operation[Token]:
        operation = self._operations.add_gen(storage_id, record)
        return self._observed_gen("add", operation, lambda token: ("ok", len(record.payload)))

    def replace_gen(self, storage_id: str, record: Record, token: Token) -> Operation[Token]:
        operation = self._operations.replace_gen(storage_id, record, token)
        return self._observed_gen("replace", operation, lambda token: ("ok", len(record.payload)))

    def end_gen(self, storage_id: str, expires_at: int, token: Token = None) -> Operation[None]:
        operation = self._operations.end_gen(storage_id, expires_at, token)
        return self._observed_gen("end", operation, lambda nothing: ("ok", 0))

    def _observed_gen(
        self, name: str, operation: Operation[T], outcome_of: Callable[[T], tuple[str, int]]
    ) -> Operation[T]:
        began = self._clock.monotonic()
        outcome, size, error = "interrupted", 0, None
        try:
            result = yield from operation
            outcome, size = outcome_of(result)
            return result
        except BaseException as raised:
            outcome, error = _outcome_of(raised), type(raised).__name__
            raise
        finally:
            seconds = self._clock.monotonic() - began
            self._tell(OperationEnded(self._name, name, outcome, seconds, size, error))
            if outcome == "too large":
                self._tell(RecordRefused(self._name, outcome))


def _found(found: Versioned | None) -> tuple[str, int]:
    return ("miss", 0) if found is None else ("ok", len(found.record.payload))


def _outcome_of(error: BaseException) -> str:
    match error:
        case Conflict():
            return "conflict"
        case RecordTooLarge():
            return "too large"
        case StoreUnavailable():
            return "unavailable"
        case Exception():
            return "error"
    return "interrupted"
