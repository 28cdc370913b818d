"""
States as saves bring them about.
"""

from __future__ import annotations

from typing import Any

from django_distsession.state import State, first_state, next_state


def save(base: State, values: dict[Any, Any], *, tag: str, cleared: bool = False) -> State:
    changed = {key for key in values if values[key] != base.values.get(key)}
    return next_state(
        base,
        values,
        changed=changed,
        expires_at=base.expires_at + 1,
        tag=f"{tag:_<8}",
        cleared=cleared,
    )


def one_save_per_key(count: int) -> State:
    state = first_state({}, created_at=1, expires_at=2, tag="t")
    for number in range(count):
        values = {**state.values, f"k{number}": number}
        state = next_state(state, values, changed={f"k{number}"}, expires_at=2, tag=f"{number:08}")
    return state
