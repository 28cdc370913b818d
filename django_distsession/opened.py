"""
A payload that was opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .state import State


class Opened:
    """
    What a payload says.

    values: the session dict. data: the same as it is serialised. expires_at: seconds since the
    epoch. unpack: makes the state; it is called when somebody asks for the stamps, as most
    requests do not.
    """

    __slots__ = ("_state", "_unpack", "data", "expires_at", "values")

    def __init__(
        self,
        values: Mapping[Any, Any],
        data: bytes,
        expires_at: int,
        unpack: Callable[[], State],
    ) -> None:
        self.values = values
        self.data = data
        self.expires_at = expires_at
        self._unpack = unpack
        self._state: State | None = None

    @classmethod
    def of(cls, state: State, data: bytes) -> Opened:
        """
        Return what the payload of a state says whose values are serialised in `data`.
        """
        return cls(state.values, data, state.expires_at, lambda: state)

    @property
    def state(self) -> State:
        """
        The values with their stamps.
        """
        state = self._state
        if state is None:
            state = self._state = self._unpack()
        return state
