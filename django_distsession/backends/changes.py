"""
Which keys of a session changed since it was loaded.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from ..codecs import Codec
from ..state import State

# Cannot change in place, so comparing with the loaded value tells all.
ATOMS = (str, int, float, bool, bytes, type(None))


def changed_keys(
    codec: Codec, base: State, base_data: bytes, values: Mapping[Hashable, Any], data: bytes
) -> set[Hashable] | None:
    """
    Return the keys of `values` that are new or differ from `base`; None if nothing at all does,
    no key removed either.

    base_data, data: what `base.values` and `values` are serialised to. Values that can change in
    place are compared with what `base_data` says, since the loaded objects may have changed.
    """
    if data == base_data:
        return None
    changed: set[Hashable] = set()
    loaded: Mapping[Hashable, Any] | None = None
    for key, value in values.items():
        if key not in base.values:
            changed.add(key)
        elif type(value) in ATOMS and type(base.values[key]) in ATOMS:
            if not _same_atom(value, base.values[key]):
                changed.add(key)
        else:
            loaded = codec.loads(base_data) if loaded is None else loaded
            if codec.dumps({key: value}) != codec.dumps({key: loaded[key]}):
                changed.add(key)
    if not changed and base.values.keys() <= values.keys():
        # The same values in another order.
        return None
    return changed


def _same_atom(a: Any, b: Any) -> bool:
    # True == 1 == 1.0, but a session that says so is another session.
    return type(a) is type(b) and bool(a == b)
