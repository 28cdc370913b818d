"""
Operations that are cut short, as by a request that is cancelled: the store goes on serving, and
whoever repeats what was cut short succeeds.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from ...stores.contract import Store
from ...stores.operations import Operation, operations_of
from ...stores.record import Record
from ..records import with_word
from .base import StoreTests, assert_ended, assert_fits, assert_holds

Cut = Callable[[Operation[Any]], bool]


class Interrupted(BaseException):
    """
    What an operation is interrupted by.
    """


def cut_short(operation: Operation[Any], after: int, *, is_reply_lost: bool, throws: bool) -> bool:
    """
    Perform so many requests of an operation and interrupt it at the next one. Return whether it
    came to that.

    is_reply_lost: whether that one is performed too. throws: or is the operation closed?
    """
    try:
        request = next(operation)
        for _ in range(after):
            try:
                result = request.perform()
            except Exception as error:
                request = operation.throw(error)
            else:
                request = operation.send(result)
    except StopIteration:
        return False
    if is_reply_lost:
        request.perform()
    if throws:
        with pytest.raises(Interrupted):
            operation.throw(Interrupted())
    else:
        operation.close()
    return True


class Interruptions(StoreTests):
    """
    At each request of each operation in turn, before and after it is performed.
    """

    @pytest.fixture(params=["not performed", "reply lost"])
    def is_reply_lost(self, request: pytest.FixtureRequest) -> bool:
        return bool(request.param == "reply lost")

    @pytest.fixture(params=["closed", "thrown"])
    def cuts(self, request: pytest.FixtureRequest, is_reply_lost: bool) -> Iterator[Cut]:
        """
        Return what cuts an operation short at its first request, its second, and so on; each says
        whether the operation came to that.
        """
        throws = request.param == "thrown"
        return (
            lambda operation, after=after: cut_short(  # type: ignore[misc]
                operation, after, is_reply_lost=is_reply_lost, throws=throws
            )
            for after in count()
        )

    def added(self, store: Store) -> tuple[str, Record, Any]:
        """
        Return the storage id, record and token of a new session.
        """
        storage_id, record = secrets.token_hex(32), self.make_record("a")
        return storage_id, record, store.add(storage_id, record)

    def test_a_read_that_is_cut_short(self, store: Store, cuts: Iterator[Cut]) -> None:
        storage_id, record, token = self.added(store)
        for cut in cuts:
            is_cut = cut(operations_of(store).get_gen(storage_id))
            assert_holds(store, storage_id, record)
            if not is_cut:
                break
        assert_fits(store, storage_id, token)

    def test_an_add_that_is_cut_short(self, store: Store, cuts: Iterator[Cut]) -> None:
        for cut in cuts:
            storage_id, record = secrets.token_hex(32), self.make_record("a")
            is_cut = cut(operations_of(store).add_gen(storage_id, record))
            token = store.add(storage_id, record)
            assert_holds(store, storage_id, record)
            assert_fits(store, storage_id, token)
            if not is_cut:
                break

    def test_a_replace_that_is_cut_short(self, store: Store, cuts: Iterator[Cut]) -> None:
        for cut in cuts:
            storage_id, record, token = self.added(store)
            later = with_word(record, "b")
            is_cut = cut(operations_of(store).replace_gen(storage_id, later, token))
            token = store.replace(storage_id, later, token)
            assert_holds(store, storage_id, later)
            assert_fits(store, storage_id, token)
            if not is_cut:
                break

    def test_an_end_that_is_cut_short(self, store: Store, cuts: Iterator[Cut]) -> None:
        for cut in cuts:
            storage_id, _, token = self.added(store)
            is_cut = cut(operations_of(store).end_gen(storage_id, self.tomorrow, token))
            store.end(storage_id, self.tomorrow, token)
            assert_ended(store, storage_id)
            if not is_cut:
                break
