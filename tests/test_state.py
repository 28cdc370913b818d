from __future__ import annotations

from functools import reduce
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_distsession.stamps import HISTORY, NEVER, Stamp
from django_distsession.state import (
    KEPT_GENERATIONS,
    MAX_REMOVED,
    State,
    first_state,
    merge,
)

from .states import save

KEYS = "abcde"


@st.composite
def histories(draw: st.DrawFn) -> list[State]:
    """
    States of one session as saves and merges of several processes can bring them about.
    """
    states = [first_state({"a": 0}, created_at=100, expires_at=200, tag="t0")]
    for step in range(1, draw(st.integers(1, 12))):
        base = draw(st.sampled_from(states))
        match draw(st.sampled_from(["set", "remove", "clear", "merge", "touch"])):
            case "set":
                values = dict(base.values) | {draw(st.sampled_from(KEYS)): step}
                states.append(save(base, values, tag=f"t{step}"))
            case "remove":
                values = dict(base.values)
                values.pop(draw(st.sampled_from(KEYS)), None)
                states.append(save(base, values, tag=f"t{step}"))
            case "clear":
                states.append(save(base, {"c": step}, tag=f"t{step}", cleared=True))
            case "merge":
                states.append(merge(base, draw(st.sampled_from(states))))
            case "touch":
                states.append(save(base, dict(base.values), tag=f"t{step}"))
    return states


@given(histories(), st.data())
def test_merge_is_commutative_associative_and_idempotent(
    states: list[State], data: st.DataObject
) -> None:
    a, b, c = (data.draw(st.sampled_from(states)) for _ in range(3))
    assert merge(a, a) == a
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


@given(histories())
def test_copies_merged_in_any_order_have_one_version_and_one_order_of_keys(
    states: list[State],
) -> None:
    merged = {
        (state.version, tuple(state.values.items()))
        for order in list(permutations(states[:4]))
        for state in [reduce(merge, [*order, order[0], order[-1]])]
        if len(states) > 1
    }
    assert len(merged) <= 1


@given(histories(), st.data())
def test_equal_versions_mean_equal_states(states: list[State], data: st.DataObject) -> None:
    a, b = (data.draw(st.sampled_from(states)) for _ in range(2))
    assert (a.version == b.version) == (a == b)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.booleans()), max_size=20))
def test_a_state_knows_its_latest_saves_and_which_of_them_others_had_seen(
    steps: list[tuple[int, int, bool]],
) -> None:
    begun = first_state({"a": 0}, created_at=100, expires_at=200, tag="t")
    # With each state: the saves in it, and those of them that another one in it had seen.
    known: list[tuple[State, set[Stamp], set[Stamp]]] = [(begun, {begun.saved}, set())]
    for number, (one, other, merges) in enumerate(steps):
        state, saves, seen = known[one % len(known)]
        if merges:
            second, others, seen_there = known[other % len(known)]
            known.append((merge(state, second), saves | others, seen | seen_there))
        else:
            values = {**state.values, KEYS[other % 3]: number}
            later = save(state, values, tag=f"{number:02}", cleared=other == 0)
            known.append((later, saves | {later.saved}, seen | saves))
    for state, saves, seen in known:
        assert state.stamps.recent == sorted(saves)[-HISTORY:]
        for stamp in saves:
            is_recent = stamp in state.stamps.recent
            assert state.was_seen(stamp) == (stamp in seen if is_recent else None)


def test_knowing_of_a_removal_makes_another_version() -> None:
    base = first_state({"a": 1}, created_at=1, expires_at=9, tag="t")
    branch = save(save(base, {"a": 1, "k": 1}, tag="b"), {"a": 1}, tag="b")
    other = save(save(base, {"a": 2}, tag="z"), {"a": 3}, tag="z")
    merged = merge(branch, other)
    assert dict(merged.stamps) == dict(other.stamps)
    assert merged.saved == other.saved
    assert merged.version != other.version


@given(histories(), st.data())
def test_a_save_that_saw_another_beats_it_key_by_key(
    states: list[State], data: st.DataObject
) -> None:
    seen = data.draw(st.sampled_from(states))
    values = {
        key: data.draw(st.sampled_from([seen.values.get(key), "new", "newer"]))
        for key in data.draw(st.sets(st.sampled_from(KEYS)))
    }
    later = save(seen, values, tag="later", cleared=data.draw(st.booleans()))
    assert merge(seen, later) == later
    assert later.saved > seen.saved


@given(histories(), st.data())
def test_concurrent_changes_to_different_keys_both_survive(
    states: list[State], data: st.DataObject
) -> None:
    base = data.draw(st.sampled_from(states))
    one = save(base, dict(base.values) | {"one": 1}, tag="x")
    two = save(base, dict(base.values) | {"two": 2}, tag="y")
    assert merge(one, two).values == {**base.values, "one": 1, "two": 2}


def test_a_removed_key_does_not_come_back_from_an_old_copy() -> None:
    old = first_state({"a": 1, "b": 2}, created_at=1, expires_at=9, tag="t")
    new = save(old, {"a": 1}, tag="u")
    assert dict(merge(old, new).values) == {"a": 1}


def test_clear_removes_what_an_older_copy_added_on_the_side() -> None:
    base = first_state({"a": 1}, created_at=1, expires_at=9, tag="t")
    aside = save(base, {"a": 1, "aside": 1}, tag="u")
    seen = save(save(base, {"a": 2}, tag="v"), {"a": 3}, tag="w")
    cleared = save(seen, {"fresh": 1}, tag="x", cleared=True)
    assert dict(merge(aside, cleared).values) == {"fresh": 1}
    assert cleared.removed == {}


def test_removed_keys_do_not_pile_up() -> None:
    state = first_state({"kept": 1}, created_at=1, expires_at=9, tag="t")
    copies = [state]
    for step in range(500):
        state = save(state, {"kept": 1, f"k{step}": 1}, tag=f"s{step}")
        state = save(state, {"kept": 1}, tag=f"r{step}")
        assert len(state.removed) <= MAX_REMOVED + 1
        copies.append(state)
    for old in copies:
        assert merge(old, state) == state


def test_removing_many_keys_at_once_is_forgotten_by_later_saves() -> None:
    many = {f"k{n}": n for n in range(100)}
    state = first_state({**many, "kept": 1}, created_at=1, expires_at=9, tag="t")
    old = state
    state = save(state, {"kept": 1}, tag="u")
    for step in range(KEPT_GENERATIONS + 1):
        assert len(state.removed) == len(many)
        state = save(state, {"kept": 1, "x": step}, tag="v")
    assert len(state.removed) == 0
    assert dict(merge(old, state).values) == {"kept": 1, "x": KEPT_GENERATIONS}


def test_removing_many_keys_spares_what_was_changed_beside_it() -> None:
    many = {f"k{n}": n for n in range(MAX_REMOVED + 1)}
    base = first_state({"cart": 0, **many}, created_at=1, expires_at=9, tag="t")
    aside = save(base, {"cart": "bought", **many}, tag="a")
    tidied = save(base, {"cart": 0}, tag="u")
    for step in range(KEPT_GENERATIONS):
        tidied = save(tidied, {"cart": 0, "seen": step}, tag="u")
        assert merge(aside, tidied).values["cart"] == "bought"
        assert not merge(aside, tidied).values.keys() & many.keys()


@st.composite
def tidied(draw: st.DrawFn) -> list[State]:
    """
    States of a session that again and again gets, and loses, more keys than are remembered.
    """
    many = {f"k{n}": n for n in range(MAX_REMOVED + 1)}
    states = [first_state({"kept": 0, **many}, created_at=1, expires_at=9, tag="t" * 8)]
    for step in range(draw(st.integers(1, 2 * KEPT_GENERATIONS))):
        base = states[-1]
        values = {"kept": base.values["kept"]}
        match draw(st.sampled_from(["fill", "keep", "keep", "empty", "set"])):
            case "fill":
                values = {**values, **many, f"n{step}": step}
            case "keep":
                values = dict(base.values)
            case "set":
                values = {**base.values, "kept": step}
        states.append(save(base, values, tag=f"{step:08}"))
    return states


@settings(max_examples=50)
@given(tidied(), st.data())
def test_what_was_changed_a_few_saves_ago_survives_all_of_them(
    states: list[State], data: st.DataObject
) -> None:
    recent = states[-KEPT_GENERATIONS - 1 :]
    changes = data.draw(st.lists(st.sampled_from(recent), min_size=1, max_size=3))
    asides = [
        save(base, {**base.values, f"aside{n}": n}, tag=data.draw(st.sampled_from("-Az_")) * 8)
        for n, base in enumerate(changes)
    ]
    copies = data.draw(st.permutations([*asides, states[-1], data.draw(st.sampled_from(states))]))
    merged = reduce(merge, copies)
    expected = {**states[-1].values, **{f"aside{n}": n for n in range(len(asides))}}
    assert merged.values == expected
    assert merged == reduce(merge, reversed(copies), states[-1])
    again = save(merged, {**merged.values, "later": 1}, tag="l")
    assert merge(again, reduce(merge, asides)).values == {**expected, "later": 1}


def test_forgetting_removed_keys_spares_recent_changes_of_others() -> None:
    state = first_state({"kept": 1}, created_at=1, expires_at=9, tag="t")
    for step in range(MAX_REMOVED):
        state = save(state, {"kept": 1, f"k{step}": 1}, tag=f"s{step}")
        state = save(state, {"kept": 1}, tag=f"r{step}")
    base = save(state, {"kept": 1, "last": 1}, tag="base")
    concurrent = save(base, {"kept": 2, "last": 1, "other": 1}, tag="A")
    forgetting = save(base, {"kept": 1}, tag="z")
    assert forgetting.cleared > base.cleared
    assert dict(merge(concurrent, forgetting).values) == {"kept": 2, "other": 1}


def test_removing_many_keys_at_once_does_not_beat_a_change_of_another_key() -> None:
    many = {f"k{n}": n for n in range(MAX_REMOVED + 8)}
    base = first_state({"cart": 0, **many}, created_at=1, expires_at=9, tag="t")
    for tags in ("az", "za"):
        bought = save(base, {"cart": "bought", **many}, tag=tags[0])
        tidied = save(base, {"cart": 0}, tag=tags[1])
        assert merge(bought, tidied).values["cart"] == "bought"


@pytest.mark.parametrize("cleared", [False, True])
def test_stamps_grow_from_the_highest_seen(cleared: bool) -> None:
    state = first_state({}, created_at=1, expires_at=9, tag="t")
    later = save(state, {"a": 1}, tag="a", cleared=cleared)
    assert later.saved.generation == 2
    assert later.cleared == (later.saved if cleared else NEVER)
    assert later.version.generation == 2


def test_a_session_in_the_place_of_an_expired_one_inherits_nothing() -> None:
    expired = first_state({"a": 1, "b": 1}, created_at=1, expires_at=9, tag="z")
    fresh = first_state({"a": 2}, created_at=10, expires_at=19, tag="a", after=1)
    assert dict(merge(expired, fresh).values) == {"a": 2}
    assert merge(expired, fresh).expires_at == 19
