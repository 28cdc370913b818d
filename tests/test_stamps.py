from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_distsession.packing import pack_stamps, unpack_stamps
from django_distsession.stamps import HISTORY, SIZE, Stamp, Stamps
from django_distsession.state import State, first_state, merge, next_state

# The keys that a save leaves, in order, and those of them that it changed.
saves = st.lists(
    st.tuples(st.permutations("abcdef"), st.integers(0, 6), st.sets(st.sampled_from("abcdef"))),
    max_size=12,
)


def packed_and_back(state: State) -> State:
    flags, packed = pack_stamps(state)
    numbers = {key: number for number, key in enumerate(state.removed)}
    stamps, removed, cleared, unseen = unpack_stamps(flags, packed, state.values, numbers)
    return state._replace(
        stamps=stamps, removed=removed, cleared=cleared, saved=stamps.latest, unseen=unseen
    )


def one_save_per_key(count: int) -> State:
    state = first_state({}, created_at=1, expires_at=2, tag="t")
    for number in range(count):
        values = {**state.values, f"k{number}": number}
        state = next_state(state, values, changed={f"k{number}"}, expires_at=2, tag=f"{number:08}")
    return state


@given(saves)
def test_each_key_has_the_stamp_of_the_save_that_wrote_it(
    history: list[tuple[list[str], int, set[str]]],
) -> None:
    begun = Stamp(1, "begun")
    known = dict.fromkeys("abc", begun)
    stamps = Stamps.of(begun, known)
    for generation, (order, count, changed) in enumerate(history, 2):
        keys, saved = order[:count], Stamp(generation, "tag")
        stamps = stamps.after(saved, keys, changed & set(keys))
        known = {key: saved if key in changed else known.get(key, saved) for key in keys}
        assert list(stamps.items()) == list(known.items())
        assert stamps.latest == saved


def test_stamps_that_no_key_has_any_more_leave_their_place_to_others() -> None:
    state = first_state({"a": 0, "b": 0, "c": 0}, created_at=1, expires_at=2, tag="t")
    for step in range(600):
        key = "ab"[step % 2]
        state = next_state(
            state, {**state.values, key: step}, changed={key}, expires_at=2, tag=f"{step:08}"
        )
    assert len(state.stamps.packed) == (1 + HISTORY) * SIZE + len(state.values) + 1
    assert state.stamps == {
        "a": Stamp(600, "00000598"),
        "b": Stamp(601, "00000599"),
        "c": Stamp(1, "t"),
    }


@pytest.mark.parametrize("count", [20, 300])
def test_one_save_of_all_keys_makes_the_stamps_small_again(count: int) -> None:
    state = one_save_per_key(count)
    values = dict.fromkeys(state.values, "again")
    state = next_state(state, values, changed=values, expires_at=2, tag="again")
    assert state.stamps == dict.fromkeys(values, state.saved)
    assert len(state.stamps.packed) == HISTORY * SIZE + count + 1


def test_a_tag_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        Stamp(1, "123456789").packed()


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
