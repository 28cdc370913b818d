"""
What drives an operation.
"""

from __future__ import annotations

from typing import Any

import pytest

from django_distsession.stores.operations import Call, Operation, run


class Interrupted(BaseException):
    """
    What a signal handler raises.
    """


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
    ended: list[bool] = []

    def operation() -> Operation[None]:
        try:
            yield Call(int)
        finally:
            ended.append(True)

    with pytest.raises(Interrupted) as caught:
        run(InterruptedBeforeItGoesOn(operation()))  # type: ignore[arg-type]
    assert caught.tb, "which keeps the driver's frame, and the operation in it"
    assert ended
