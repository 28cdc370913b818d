"""
What a request changed in a session, so that it can be applied to whatever the session is by now.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from ..codecs import Codec
from ..state import State, new_tag, next_state

# Cannot change in place, so comparing with the loaded value tells all.
ATOMS = frozenset([str, int, float, bool, bytes, type(None)])


@dataclass(frozen=True, slots=True)
class Change:
    """
    values: the keys that were set, with their new values. removed: the keys that were taken away.
    cleared: whether the session was emptied first; then `values` is all that it is to hold.
    """

    values: Mapping[Hashable, Any]
    removed: Collection[Hashable]
    cleared: bool = False

    def __bool__(self) -> bool:
        return bool(self.values or self.removed or self.cleared)

    def apply(self, base: State, *, expires_at: int) -> State:
        """
        Return the state that a save of this change makes of `base`.
        """
        values = {} if self.cleared else dict(base.values)
        values |= self.values
        for key in self.removed:
            values.pop(key, None)
        return next_state(
            base,
            values,
            changed=self.values.keys(),
            expires_at=expires_at,
            tag=new_tag(),
            cleared=self.cleared,
        )


def find_change(
    codec: Codec, base: State, base_data: bytes, values: Mapping[Hashable, Any], data: bytes
) -> Change:
    """
    Return what makes `values` of the values of `base`.

    base_data, data: what `base.values` and `values` are serialised to. Values that can change in
    place are compared with what `base_data` says, since the loaded objects may have changed.
    """
    if data == base_data:
        return Change({}, ())
    changed: dict[Hashable, Any] = {}
    loaded: Mapping[Hashable, Any] | None = None
    for key, value in values.items():
        if key not in base.values:
            changed[key] = value
        elif type(value) in ATOMS and type(base.values[key]) in ATOMS:
            if not _is_same(value, base.values[key]):
                changed[key] = value
        else:
            loaded = codec.loads(base_data) if loaded is None else loaded
            before = loaded[key]
            # Serialising tells for sure; mostly looking is enough, and quicker.
            if not _is_same(value, before) and codec.dumps({key: value}) != codec.dumps(
                {key: before}
            ):
                changed[key] = value
    return Change(changed, [key for key in base.values if key not in values])


def _is_same(a: Any, b: Any) -> bool:
    """
    Whether two values are the same for certain. False says nothing of what is no plain data.
    """
    kind = type(a)
    # True == 1 == 1.0, but a session that says so is another session.
    if kind is not type(b):
        return False
    if kind in ATOMS:
        return bool(a == b)
    if kind is list:
        return len(a) == len(b) and all(map(_is_same, a, b))
    if kind is dict:
        # In the same order, too.
        return list(a) == list(b) and all(map(_is_same, a.values(), b.values()))
    return False
