"""
Methods of Django's contract that a site's own engine may override, with or without their async
twins.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

from ..stores.operations import Call, Operation, arun
from ..stores.threads import in_thread

P = ParamSpec("P")
T = TypeVar("T")

OURS = f"{__name__.partition('.')[0]}."


def is_ours(method: Callable[..., Any]) -> bool:
    """
    Whether a method is as this package has it.
    """
    return method.__module__.startswith(OURS)


class CallMethod(Call):
    """
    A request to call a method of the session's. twin: its async half.
    """

    __slots__ = ("aperform",)

    def __init__(
        self, method: Callable[..., Any], twin: Callable[..., Awaitable[Any]], *args: Any
    ) -> None:
        super().__init__(method, *args)
        self.aperform = partial(twin, *args)  # type: ignore[assignment,method-assign]


async def adrive(
    operation: Operation[T], method: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """
    Drive the operation of a method without blocking the event loop.

    A method that a site has overridden does something else, and may block: it is called, on a
    thread.
    """
    if is_ours(method):
        return await arun(operation)
    operation.close()
    return await in_thread(method, *args, **kwargs)
