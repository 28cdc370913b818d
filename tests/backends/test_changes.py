"""
What counts as a change.
"""

from __future__ import annotations

import array
import pickle
from typing import Any

import pytest

from tests.conftest import stored
from tests.sessions import Engine, contents, save_elsewhere


class PickleSerializer:
    def dumps(self, obj: Any) -> bytes:
        return pickle.dumps(obj)

    def loads(self, data: bytes) -> Any:
        return pickle.loads(data)


@pytest.fixture
def pickled(settings: Any, session_class: Engine) -> Engine:
    settings.SESSION_SERIALIZER = f"{__name__}.PickleSerializer"
    return session_class


@pytest.mark.parametrize(
    ("before", "after"),
    [(1, True), (True, 1), (1, 1.0), (0, False), ([1], [True]), ({"n": 1}, {"n": 1.5}), ("", None)],
)
def test_a_value_of_another_type_is_a_change(
    session_class: Engine, before: Any, after: Any
) -> None:
    key = stored(session_class, value=before)
    session = session_class(key)
    session["value"] = after
    session.save()
    value = contents(session_class, key)["value"]
    assert value == after
    assert type(value) is type(after)


def test_an_object_in_two_places_changes_in_both(pickled: Engine) -> None:
    shared = ["book"]
    key = stored(pickled, box={"inner": shared}, cart=shared)
    session = pickled(key)
    session["box"]["inner"].append("lamp")
    save_elsewhere(pickled, key, elsewhere=True)
    session.save()
    assert pickled(key)["cart"] == ["book", "lamp"]


def test_arrays_of_other_types_with_the_same_bytes_differ(pickled: Engine) -> None:
    key = stored(pickled, numbers=array.array("i", [0, 0]))
    session = pickled(key)
    session["numbers"] = array.array("f", [0, 0])
    save_elsewhere(pickled, key, elsewhere=True)
    session.save()
    assert pickled(key)["numbers"].typecode == "f"


def test_what_is_no_number_counts_as_unchanged(session_class: Engine) -> None:
    key = stored(session_class, x=float("nan"), n=1)
    session = session_class(key)
    assert session["n"] == 1
    save_elsewhere(session_class, key, x=1)
    session["n"] = 2
    session.save()
    assert session_class(key)["x"] == 1


def test_a_zero_that_became_negative_has_changed(session_class: Engine) -> None:
    key = stored(session_class, x=0.0)
    session = session_class(key)
    session["x"] = -0.0
    save_elsewhere(session_class, key, elsewhere=True)
    session.save()
    assert str(session_class(key)["x"]) == "-0.0"
