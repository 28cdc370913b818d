from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_distsession.backends.records import CLOCK_SKEW, Records
from django_distsession.codecs import JSONCodec
from django_distsession.stamps import Stamp
from django_distsession.state import State, first_state, merge, next_state
from django_distsession.stores.reconcile import reconcile
from django_distsession.stores.record import Record

STORAGE_ID = "0" * 64
RECORDS = Records(JSONCodec())
CREATED_AT, EXPIRES_AT = 1_000, 2_000


def encoded(state: State) -> Record:
    return RECORDS.encode(STORAGE_ID, state, RECORDS.codec.dumps(state.values))


def saved(base: State, tag: str, *, expires_at: int = EXPIRES_AT) -> State:
    values = {**base.values, tag: base.saved.generation}
    return next_state(base, values, changed={tag}, expires_at=expires_at, tag=f"{tag:_<8}")


def values_of(record: Record | None) -> dict[Any, Any] | None:
    decoded = record and RECORDS.decode(STORAGE_ID, record)
    return dict(decoded[0].values) if decoded else None


def reconciled(*copies: Record | None) -> Record | None:
    return reconcile(STORAGE_ID, [copy for copy in copies if copy is not None], RECORDS.merge)


def identity(record: Record | None) -> Any:
    return record and (record.version, record.payload, record.ended, record.retention_deadline)


FIRST = first_state({"a": 1}, created_at=CREATED_AT, expires_at=EXPIRES_AT, tag="first___")


@st.composite
def copies_of_a_session(draw: st.DrawFn) -> list[Record]:
    """
    Copies that saves, merges and ends of several processes, and their retention, leave behind.
    """
    states, copies = [FIRST], [encoded(FIRST)]
    for tag in "bcdefg"[: draw(st.integers(1, 6))]:
        base = draw(st.sampled_from(states))
        expires_at = EXPIRES_AT + 10 * draw(st.integers(-5, 5))
        if draw(st.booleans()):
            states.append(saved(base, tag, expires_at=expires_at))
        else:
            states.append(merge(base, draw(st.sampled_from(states))))
        retain_until = draw(st.sampled_from([0, EXPIRES_AT + 300]))
        copies.append(encoded(states[-1]).retained_until(retain_until))
    if draw(st.booleans()):
        copies += [Record.tombstone(EXPIRES_AT + draw(st.integers(0, 100)))]
    return copies


@given(copies_of_a_session(), st.data())
def test_it_is_commutative_associative_and_idempotent(
    copies: list[Record], data: st.DataObject
) -> None:
    a, b, c = (data.draw(st.sampled_from(copies)) for _ in range(3))
    assert reconciled(a, a) == a
    assert identity(reconciled(a, b)) == identity(reconciled(b, a))
    left, right = reconciled(reconciled(a, b), c), reconciled(a, reconciled(b, c))
    assert identity(left) == identity(right) == identity(reconciled(a, b, c))


@given(copies_of_a_session())
def test_no_order_and_no_repetition_makes_a_difference(copies: list[Record]) -> None:
    copies = copies[:4]
    results = {identity(reconciled(*order, order[0], order[-1])) for order in permutations(copies)}
    assert len(results) == 1


@given(copies_of_a_session())
def test_what_comes_out_is_retained_as_long_as_any_copy_may_live(copies: list[Record]) -> None:
    result = reconciled(*copies)
    assert result is not None
    assert result.retention_deadline >= max(copy.retention_deadline for copy in copies)


@given(copies_of_a_session(), st.integers(0, 5000))
def test_ended_beats_live(copies: list[Record], expires_at: int) -> None:
    result = reconciled(*copies, Record.tombstone(expires_at))
    assert result is not None
    assert result.ended
    assert not result.payload


def test_of_two_tombstones_the_one_that_lasts_longer_stays() -> None:
    first, second = Record.tombstone(5), Record.tombstone(9)
    assert reconciled(first, second) == reconciled(second, first) == second


def test_what_two_saves_changed_is_in_the_result() -> None:
    one, other = encoded(saved(FIRST, "b")), encoded(saved(FIRST, "c"))
    assert values_of(reconciled(one, other)) == {"a": 1, "b": 1, "c": 1}


def test_a_copy_that_holds_it_all_stays_byte_for_byte() -> None:
    older, newer = encoded(FIRST), encoded(saved(FIRST, "b"))
    assert reconciled(older, newer) == newer


def test_a_damaged_copy_gives_way_to_another_of_the_same_version() -> None:
    good = encoded(saved(FIRST, "b"))
    damaged = good._replace(payload=good.payload[:-1])
    for copies in ([good, damaged], [damaged, good], [damaged, good, encoded(FIRST)]):
        assert values_of(reconciled(*copies)) == {"a": 1, "b": 1}


def test_of_nothing_and_of_what_cannot_be_decoded_comes_nothing() -> None:
    first, second = (encoded(saved(FIRST, tag))._replace(payload=b"?") for tag in "bc")
    assert reconciled() is None
    assert reconciled(first, second) is None


@pytest.mark.parametrize("longer_first", [True, False])
def test_of_copies_that_hold_the_same_the_one_that_is_retained_longest_is_kept(
    longer_first: bool,
) -> None:
    record = Record(Stamp(3, "t"), 500, 1, b"payload")
    copies = [record.retained_until(900), record]
    if not longer_first:
        copies.reverse()

    def never(*arguments: Any) -> Any:
        raise AssertionError("There is nothing to merge.")

    kept = reconcile(STORAGE_ID, copies, never)
    assert kept is not None
    assert (kept.expires_at, kept.retention_deadline) == (500, 900)


def test_a_session_that_had_expired_is_no_part_of_the_one_that_followed_it() -> None:
    expired = encoded(saved(saved(FIRST, "b"), "c"))
    following = first_state(
        {"new": 1}, created_at=EXPIRES_AT, expires_at=EXPIRES_AT + 1_000, tag="new_____"
    )
    for copies in permutations([expired, encoded(following)]):
        assert values_of(reconciled(*copies)) == {"new": 1}


@pytest.mark.parametrize("tag", ["aaaaaaaa", "zzzzzzzz"])
def test_nor_is_one_that_was_begun_in_the_same_second_and_had_expired_at_once(tag: str) -> None:
    expired = first_state({"old": 1}, created_at=CREATED_AT, expires_at=CREATED_AT - 1, tag=tag)
    for copies in permutations([encoded(expired), encoded(FIRST)]):
        assert values_of(reconciled(*copies)) == {"a": 1}


def test_a_session_that_was_expired_at_once_stays_so() -> None:
    expired = encoded(saved(FIRST, "b", expires_at=CREATED_AT))
    for copies in permutations([encoded(FIRST), expired]):
        result = reconciled(*copies)
        assert result is not None
        assert (result.version, result.expires_at) == (expired.version, CREATED_AT)


def test_what_stands_beside_a_payload_makes_no_other_copy_expired() -> None:
    newer = encoded(saved(FIRST, "b"))
    forged = encoded(FIRST)._replace(created_at=EXPIRES_AT + 1, expires_at=EXPIRES_AT + 9)
    assert values_of(reconciled(forged, newer)) == {"a": 1, "b": 1}


@pytest.mark.parametrize(("skew", "counted"), [(40, 40), (10**9, CLOCK_SKEW), (-40, 0)])
def test_a_merge_lives_as_long_as_the_clock_of_a_server_says(skew: int, counted: int) -> None:
    one, other = encoded(saved(FIRST, "b")), encoded(saved(FIRST, "c"))
    result = reconciled(one._replace(expires_at=one.expires_at + skew), other)
    assert result is not None
    assert result.expires_at == EXPIRES_AT + counted
