"""
Values that error reports do not show.

Django's error pages, and error trackers, print the local variables and arguments of every function
that an exception passed through. A wrapped password is printed as stars. So it stays wrapped in
every variable, and is revealed only within the expression that needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Secret(Generic[T]):
    """
    A value whose `repr` hides it.

    Not a subclass of `str`, of which trackers print the contents, whatever its `repr` is.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """
        Return the value, which must not be assigned to a variable.
        """
        return self._value

    def map(self, function: Callable[[T], U]) -> Secret[U]:
        """
        Apply a function, which must not raise: its frame holds the value.
        """
        return Secret(function(self._value))

    def encode(self: Secret[str], encoding: str = "utf-8") -> bytes:
        """
        Encode the text, as `http.client` does with the value of a header.
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
    Wrap a value that is not wrapped yet.
    """
    return value if isinstance(value, Secret) else Secret(value)


def wrapped_items(mapping: Secret[Any]) -> dict[Any, Secret[Any]] | None:
    """
    Return a mapping's items, each value wrapped; None if it is no mapping.
    """
    if not isinstance(mapping.reveal(), Mapping):
        return None
    return {key: Secret(mapping.reveal()[key]) for key in mapping.reveal()}


def without_frames(call: Callable[[], T]) -> T:
    """
    Call into a library that does not wrap its secrets, and remove the library's frames from the
    error that it raises, and from that error's causes.
    """
    handled = sys.exception()
    try:
        return call()
    except BaseException as raised:
        errors: list[BaseException | None] = [raised]
        while errors:
            error = errors.pop()
            # But not from an error that the caller was already handling.
            if error is not None and error is not handled:
                error.__traceback__ = None
                errors += {error.__cause__, error.__context__}
        raise
