"""
Values that no report of an error shows.

Django's error pages, and error trackers, print the local variables and arguments of every function
that an exception passed through. A password that is wrapped here is printed as stars. So it stays
wrapped in every variable, and is revealed within the expression that needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Secret(Generic[T]):
    """
    A value with a `repr` that does not tell it.

    Not a kind of `str`: of one, trackers print the contents, whatever its `repr` is.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """
        Return the value. Not for a variable.
        """
        return self._value

    def map(self, function: Callable[[T], U]) -> Secret[U]:
        """
        Return what a function that cannot fail makes of the value.
        """
        return Secret(function(self._value))

    def encode(self: Secret[str], encoding: str = "utf-8") -> bytes:
        """
        Return the text as bytes. `http.client` asks the value of a header for them.
        """
        return self._value.encode(encoding)

    def __repr__(self) -> str:
        return "'********'"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash(self._value)


def wrapped(value: T | Secret[T]) -> Secret[T]:
    """
    Return the value as a secret, if it is none yet.
    """
    return value if isinstance(value, Secret) else Secret(value)


def wrapped_items(mapping: Secret[Any]) -> dict[Any, Secret[Any]] | None:
    """
    Return the values of a mapping, each one wrapped, by their keys. None: it is no mapping.
    """
    if not isinstance(mapping.reveal(), Mapping):
        return None
    return {key: Secret(mapping.reveal()[key]) for key in mapping.reveal()}


def without_frames(call: Callable[[], T]) -> T:
    """
    Make a call into a library that does not wrap its secrets. An error that it raises does not
    refer to the library's frames, neither by itself nor by its causes.
    """
    handled = sys.exception()
    try:
        return call()
    except BaseException as raised:
        errors: list[BaseException | None] = [raised]
        while errors:
            error = errors.pop()
            # What the caller was handling before is the caller's.
            if error is not None and error is not handled:
                error.__traceback__ = None
                errors += {error.__cause__, error.__context__}
        raise
