"""
A state's stamps in a form small enough to carry along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .state import Stamp, State


def pack_stamps(state: State) -> tuple[list[Any], dict[Any, int]]:
    """
    Return a state's stamps in a form small enough to carry along, and the removed keys.

    The stamps are kept once each, in a table, and referred to by their index in it: few saves
    write a typical session's keys.
    """
    stamps, forgotten = state.stamps.values(), state.removed.values()
    distinct = dict.fromkeys([state.saved, *stamps, *forgotten, state.cleared])
    table = dict(zip(distinct, range(len(distinct)), strict=True))
    flat = [part for at in distinct for part in at]
    indices = [table[at] for at in stamps]
    removed = {key: table[at] for key, at in state.removed.items()}
    return [int(state.merged), table[state.cleared], flat, indices], removed


def unpack_stamps(
    packed: list[Any],
    values: dict[Any, Any],
    removed: Mapping[Any, int],
    created_at: int,
    expires_at: int,
) -> State:
    """
    Undo `pack_stamps`.
    """
    merged, cleared, flat, indices = packed
    table = list(map(Stamp, flat[::2], flat[1::2]))
    return State(
        values,
        dict(zip(values, map(table.__getitem__, indices), strict=True)),
        created_at,
        expires_at,
        table[0],
        {key: table[index] for key, index in removed.items()},
        table[cleared],
        merged=bool(merged),
    )
