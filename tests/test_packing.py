from __future__ import annotations

from typing import Any

import pytest

from django_distsession.packing import pack_stamps, unpack_stamps
from django_distsession.stamps import Stamp
from django_distsession.state import State, first_state, merge, next_state

from .states import one_save_per_key, save


def packed_and_back(state: State) -> State:
    flags, packed = pack_stamps(state)
    numbers = {key: number for number, key in enumerate(state.removed)}
    stamps, removed, cleared, unseen = unpack_stamps(flags, packed, state.values, numbers)
    return state._replace(
        stamps=stamps, removed=removed, cleared=cleared, saved=stamps.latest, unseen=unseen
    )


@pytest.mark.parametrize("count", [0, 1, 253, 254, 255, 256, 257, 400])
def test_any_number_of_saves_can_be_told_apart(count: int) -> None:
    state = one_save_per_key(count)
    assert state.stamps == {f"k{n}": Stamp(n + 2, f"{n:08}") for n in range(count)}
    assert packed_and_back(state) == state
    # Also when one is written again, and when there are fewer again.
    values = {**state.values, "k0": "again"}
    state = next_state(state, values, changed={"k0"}, expires_at=2, tag="again")
    assert state.stamps["k0"] == state.saved
    assert packed_and_back(state) == state
    state = next_state(state, {"k0": "again"}, changed=(), expires_at=2, tag="tidied")
    assert packed_and_back(state).stamps == {"k0": Stamp(count + 2, "again")}


@pytest.mark.parametrize("count", [253, 254, 255, 256, 300])
def test_any_number_of_keys_can_be_written_one_by_one(count: int) -> None:
    values = {f"k{n}": 0 for n in range(count + 1)}
    state = first_state(values, created_at=1, expires_at=2, tag="t")
    for number in range(count):
        values = {**values, f"k{number}": 1}
        state = next_state(state, values, changed={f"k{number}"}, expires_at=2, tag="u")
    written = {f"k{n}": Stamp(n + 2, "u") for n in range(count)}
    assert state.stamps == {**written, f"k{count}": Stamp(1, "t")}
    assert packed_and_back(state) == state


def test_all_of_a_state_is_kept() -> None:
    state = first_state({"a": 1, "b": 1}, created_at=1, expires_at=2, tag="t")
    state = next_state(state, {"c": 1}, changed={"c"}, expires_at=3, tag="u", cleared=True)
    state = next_state(state, {"c": 1, "d": 1}, changed={"d"}, expires_at=3, tag="v")
    one = next_state(state, {"d": 1}, changed=(), expires_at=4, tag="w")
    other = next_state(state, {"c": 1, "d": 2}, changed={"d"}, expires_at=4, tag="x")
    merged = merge(one, other)
    assert merged.removed
    assert merged.cleared.generation == 2
    back = packed_and_back(merged)
    assert back == merged
    assert back.version == merged.version


def test_a_touch_changes_no_stamp_but_its_own() -> None:
    state = first_state({"a": 1}, created_at=1, expires_at=2, tag="t")
    touched = next_state(state, state.values, changed=(), expires_at=9, tag="u")
    back: Any = packed_and_back(touched)
    assert (back.saved, back.stamps) == (Stamp(2, "u"), {"a": Stamp(1, "t")})


def test_the_stamps_of_a_typical_session_take_at_most_100_bytes() -> None:
    login = {
        "_auth_user_id": "42",
        "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
        "_auth_user_hash": "f" * 64,
    }
    state = first_state(login, created_at=1_795_260_636, expires_at=1_796_470_236, tag="x" * 8)
    for step in range(300):
        values = dict(state.values) | {"cart": step, f"seen{step % 3}": step}
        state = save(state, values, tag=f"{step:08}")
    assert not state.removed
    _, packed = pack_stamps(state)
    assert len(packed) <= 100
