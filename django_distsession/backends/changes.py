"""
What a request changed in a session, so that it can be applied to whatever the session is by now.
"""

from __future__ import annotations

import marshal
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from ..codecs import Codec
from .access_tracking import EVERYTHING, AccessedKeys
from .loading import Loaded

ABSENT = object()
# Cannot change in place, so comparing with the loaded value tells all.
ATOMS = frozenset({str, int, float, bool, bytes, type(None)})


class Change(NamedTuple):
    """
    values: the keys that were set, with their new values. removed: the keys that were taken away.
    cleared: whether the session was emptied first; then `values` is all that it is to hold.
    """

    values: Mapping[Any, Any]
    removed: Collection[Any]
    cleared: bool = False

    def apply(self, base: Mapping[Any, Any]) -> dict[Any, Any]:
        """
        Return what this change makes of the values of a session.
        """
        values = {} if self.cleared else dict(base)
        values |= self.values
        for key in self.removed:
            values.pop(key, None)
        return values


NO_CHANGE = Change({}, ())


def find_change(
    codec: Codec,
    loaded: Loaded,
    values: Mapping[Any, Any],
    data: bytes,
    accessed: AccessedKeys,
) -> Change:
    """
    Return what makes `values`, which `data` is serialised from, of what was loaded: `NO_CHANGE` if
    they are the same.

    accessed: the keys that may have been set, or whose values may have changed in place. No other
    key was removed, either.
    """
    if data == loaded.data:
        return NO_CHANGE
    before = loaded.state.values
    changed: dict[Any, Any] = {}
    containers: dict[Any, Any] = {}
    if not codec.is_tree:
        accessed = EVERYTHING
    for key in accessed & values.keys() if isinstance(accessed, set) else values:
        value, known = values[key], before.get(key, ABSENT)
        if known is ABSENT:
            changed[key] = value
        elif type(value) not in ATOMS:
            containers[key] = value
        # True == 1 == 1.0, but a session that says so is another session.
        elif value is not known and not _are_same_atom(value, known):
            changed[key] = value
    if containers:
        changed |= _changed_containers(codec, codec.loads(loaded.data), containers)
    removed = before.keys() - values.keys()
    return Change(changed, removed) if changed or removed else NO_CHANGE


def _changed_containers(
    codec: Codec, before: Mapping[Any, Any], now: Mapping[Any, Any]
) -> Mapping[Any, Any]:
    if codec.is_tree and _are_same([before[key] for key in now], list(now.values())):
        # As they mostly are, and one comparison tells.
        return {}
    return {
        key: value
        for key, value in now.items()
        if not (codec.is_tree and _are_same(before[key], value))
        and codec.dumps({"": before[key]}) != codec.dumps({"": value})
    }


def _are_same_atom(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    # NaN is not itself, and 0.0 == -0.0.
    return bool(one == other if type(one) is not float else repr(one) == repr(other))


def _are_same(one: Any, other: Any) -> bool:
    try:
        # Exact about types, and faster than any comparison written in Python. Version 2 is the
        # last that writes equal values alike.
        return marshal.dumps(one, 2) == marshal.dumps(other, 2)
    except ValueError:
        # Something that marshal does not know; the serializer does.
        return False
