from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_distsession.stamps import HISTORY, SIZE, Stamp, Stamps
from django_distsession.state import first_state, next_state

from .states import one_save_per_key

# The keys that a save leaves, in order, and those of them that it changed.
saves = st.lists(
    st.tuples(st.permutations("abcdef"), st.integers(0, 6), st.sets(st.sampled_from("abcdef"))),
    max_size=12,
)


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
