from __future__ import annotations

from typing import Any

import pytest

from django_distsession.stores.contract import Store, Token
from django_distsession.stores.operations import Call, GeneratorStore, Operation, operations_of, run
from django_distsession.stores.record import Record

RECORD: Any = object()


class Interrupted(BaseException):
    """
    As a signal handler or a greenlet's time-out raises it.
    """


def fail(error: BaseException) -> None:
    raise error


def test_an_operation_is_sent_the_result_of_each_request() -> None:
    def inner() -> Operation[Any]:
        return (yield Call(int, "2"))

    def outer() -> Operation[Any]:
        return (yield Call(lambda: 1)) + (yield from inner())

    assert run(outer()) == 3


def test_an_operation_that_requests_nothing_has_a_result() -> None:
    def operation() -> Operation[Any]:
        return 1
        yield

    assert run(operation()) == 1


def test_what_a_request_raises_can_be_handled_by_the_operation() -> None:
    def operation() -> Operation[Any]:
        try:
            yield Call(fail, OSError())
        except OSError:
            return (yield Call(lambda: 1))
        return 0

    assert run(operation()) == 1


@pytest.mark.parametrize("error", [OSError(), Interrupted()])
def test_what_the_operation_does_not_handle_ends_it(error: BaseException) -> None:
    cleaned_up = []

    def operation() -> Operation[None]:
        try:
            yield Call(fail, error)
        finally:
            cleaned_up.append(True)

    with pytest.raises(type(error)) as caught:
        run(operation())
    assert caught.value is error
    assert cleaned_up == [True]


class InterruptedBeforeItGoesOn:
    """
    An operation whose driver is interrupted when it is about to send it a result.
    """

    def __init__(self, operation: Operation[None]) -> None:
        self._operation = operation
        self.close = operation.close

    def __next__(self) -> Any:
        return next(self._operation)

    def send(self, result: object) -> None:
        raise Interrupted


def test_an_operation_whose_driver_is_interrupted_is_over_at_once() -> None:
    cleaned_up = []

    def operation() -> Operation[None]:
        try:
            yield Call(int)
        finally:
            cleaned_up.append(True)

    with pytest.raises(Interrupted) as caught:
        run(InterruptedBeforeItGoesOn(operation()))  # type: ignore[arg-type]
    assert caught.tb, "which keeps the driver's frame, and the operation in it"
    assert cleaned_up == [True]


class BlockingStore(Store):
    """
    Says which method was called with what.
    """

    def get(self, storage_id: str) -> Any:
        return "get", storage_id

    def add(self, storage_id: str, record: Record) -> Token:
        return "add", storage_id, record

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        return "replace", storage_id, record, token

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> Any:
        return "end", storage_id, expires_at, token


class RefreshableStore(BlockingStore):
    def refresh(self, storage_id: str, at_least: int) -> Any:
        return "refresh", storage_id, at_least


def test_a_store_with_blocking_methods_has_operations() -> None:
    store: Any = operations_of(BlockingStore())
    assert run(store.get_gen("id")) == ("get", "id")
    assert run(store.add_gen("id", RECORD)) == ("add", "id", RECORD)
    assert run(store.replace_gen("id", RECORD, 7)) == ("replace", "id", RECORD, 7)
    assert run(store.end_gen("id", 9, 7)) == ("end", "id", 9, 7)


def test_a_store_that_cannot_refresh_is_read_again() -> None:
    plain: Any = operations_of(BlockingStore())
    assert run(plain.refresh_gen("id", 3)) == ("get", "id")
    refreshable: Any = operations_of(RefreshableStore())
    assert run(refreshable.refresh_gen("id", 3)) == ("refresh", "id", 3)


def test_a_store_with_operations_is_taken_as_it_is() -> None:
    class WithOperations(GeneratorStore):
        def get_gen(self, storage_id: str) -> Operation[Any]:
            return (yield Call(lambda: None))

        def add_gen(self, storage_id: str, record: Record) -> Operation[Any]:
            return (yield Call(lambda: "added"))

        def replace_gen(self, storage_id: str, record: Record, token: Token) -> Operation[Any]:
            return (yield Call(lambda: "replaced"))

        def end_gen(self, storage_id: str, expires_at: int, token: Token = None) -> Operation[None]:
            yield Call(lambda: None)

    store = WithOperations()
    assert operations_of(store) is store
    assert store.get("id") is None
    assert store.refresh("id", 3) is None
    assert store.add("id", RECORD) == "added"
    assert store.replace("id", RECORD, 7) == "replaced"
