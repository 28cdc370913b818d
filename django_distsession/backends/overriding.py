"""
Methods of Django's contract that a site's own engine may override, with or without their async
twins.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from ..stores.operations import Call

OURS = f"{__name__.partition('.')[0]}."


def is_ours(method: Callable[..., Any]) -> bool:
    """
    Whether a method is as this package has it.
    """
    return method.__module__.startswith(OURS)


class CallMethod(Call):
    """
    A request to call a method of the session's. A driver that must not block awaits what `twin`
    returns instead.
    """

    __slots__ = ("twin",)

    def __init__(
        self, method: Callable[..., Any], twin: Callable[..., Awaitable[Any]], *args: Any
    ) -> None:
        super().__init__(method, *args)
        self.twin = partial(twin, *args)
