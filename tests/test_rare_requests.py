"""
What requests seldom do, and what must not go wrong when they do.
"""

from __future__ import annotations

import array
import datetime
import pickle
import time
from typing import Any

import pytest

from django_distsession.backends.base import StoreBackedSession
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.contract import Conflict, Versioned
from tests.conftest import stored
from tests.interposing import interposed

Engine = type[StoreBackedSession]


class PickleSerializer:
    def dumps(self, obj: Any) -> bytes:
        return pickle.dumps(obj)

    def loads(self, data: bytes) -> Any:
        return pickle.loads(data)


@pytest.fixture
def pickled(settings: Any, session_class: Engine) -> Engine:
    settings.SESSION_SERIALIZER = f"{__name__}.PickleSerializer"
    return session_class


def save_elsewhere(session_class: Engine, key: str, **values: Any) -> None:
    session = session_class(key)
    for name, value in values.items():
        session[name] = value
    session.save()


def test_a_list_that_was_taken_out_and_replaced_is_not_written(session_class: Engine) -> None:
    key = stored(session_class, cart=["book"], n=1)
    session = session_class(key)
    taken_out = session.pop("cart")
    session["cart"] = list(taken_out)
    taken_out.append("lamp")
    session["n"] = 2
    session.save()
    assert session_class(key)["cart"] == ["book"]


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


@pytest.mark.parametrize("name", [1, None, True])
def test_values_under_keys_that_are_no_text_stay_the_same_objects(
    session_class: Engine, name: Any
) -> None:
    session = session_class()
    session["cart"] = cart = ["book"]
    session[name] = 1
    session.save()
    cart.append("lamp")
    session.save()
    assert session_class(session.session_key)["cart"] == ["book", "lamp"]


@pytest.mark.parametrize("error", [TypeError, StoreUnavailable])
def test_after_a_new_key_that_could_not_be_had_the_session_goes_on_under_the_old_one(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    key = stored(session_class, user=1)
    session = session_class(key)

    def fail(*args: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(interposed(session_class), "add", fail)
        with pytest.raises(error):
            session.cycle_key()
    session["n"] = 1
    session.save()
    assert session.session_key == key
    assert dict(session_class(key).items()) == {"user": 1, "n": 1}


def test_loading_by_hand_in_the_middle_undoes_nothing(session_class: Engine) -> None:
    key = stored(session_class, n=1)
    session = session_class(key)
    assert session["n"] == 1
    save_elsewhere(session_class, key, elsewhere=True)
    assert session.load() == {"n": 1, "elsewhere": True}
    session["n"] = 2
    session.save()
    assert dict(session_class(key).items()) == {"n": 2, "elsewhere": True}


@pytest.mark.parametrize("age", [60, 10**7])
def test_an_expiry_that_another_request_set_outlives_a_conflict(
    session_class: Engine, age: int
) -> None:
    key = stored(session_class, n=1)
    session, other = session_class(key), session_class(key)
    assert session["n"] == 1
    other.set_expiry(age)
    other.save()
    session["n"] = 2
    session.save()
    assert session_class(key).get_expiry_age() == age
    found = session_class.get_store().get(session_class.storage_id(key) or "")
    assert found is not None
    assert abs(found.record.expires_at - time.time() - age) < 60


@pytest.mark.parametrize("through", ["its own save", "a mixin's load"])
def test_a_class_of_ones_own_may_change_values_in_place(
    session_class: Engine, through: str
) -> None:
    class Loading:
        def load(self) -> dict[str, Any]:
            values: dict[str, Any] = super().load()  # type: ignore[misc]
            values["visits"][0] += 1
            return values

    class ByLoading(Loading, session_class):  # type: ignore[valid-type, misc]
        pass

    class BySaving(session_class):  # type: ignore[valid-type, misc]
        def save(self, must_create: bool = False) -> None:
            self._get_session(no_load=must_create)["visits"][0] += 1
            super().save(must_create)

    key = stored(session_class, visits=[0])
    own: Any = {"a mixin's load": ByLoading, "its own save": BySaving}[through](key)
    own["n"] = 1
    save_elsewhere(session_class, key, elsewhere=True)
    own.save()
    assert session_class(key)["visits"] == [1]


def test_a_value_that_was_only_stamped_anew_stays_the_same_object(session_class: Engine) -> None:
    key = stored(session_class, cart=["book"], n=1)
    session, tidy = session_class(key), session_class(key)
    cart = session["cart"]
    for number in range(40):
        tidy[f"k{number}"] = 1
    tidy.save()
    for number in range(40):
        del tidy[f"k{number}"]
    tidy.save()
    session["n"] = 2
    session.save()
    cart.append("lamp")
    session.save()
    assert session_class(key)["cart"] == ["book", "lamp"]


def test_an_expiry_that_cannot_be_compared_keeps_nobody_in(
    session_class: Engine, settings: Any
) -> None:
    settings.USE_TZ = False
    session = session_class()
    session.set_expiry(datetime.datetime(2040, 1, 1))
    session.save()
    key = session.session_key or ""
    settings.USE_TZ = True
    session_class(key).flush()
    loaded = session_class(key)
    assert loaded.load() == {}
    session = session_class()
    session.update({"n": 1})
    settings.USE_TZ = False
    session.set_expiry(datetime.datetime(2040, 1, 1))
    session.save()
    settings.USE_TZ = True
    session.flush()
    assert session_class().exists(key) is False


def test_what_was_seen_is_written_again_if_an_older_copy_comes_to_light(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stored(session_class, old=1)
    store, storage_id = interposed(session_class), session_class.storage_id(key) or ""
    older = store.get(storage_id)
    assert older is not None
    save_elsewhere(session_class, key, seen=True)
    session = session_class(key)
    assert session["seen"]
    session["new"] = True
    replace = store.replace

    def lose_a_race_to_the_past(storage_id: str, record: Any, token: Any) -> Any:
        monkeypatch.setattr(store, "replace", replace)
        current = store.get(storage_id)
        assert current is not None
        # As if the servers with what was seen were gone, and another one were back.
        raise Conflict(Versioned(older.record, current.token))

    monkeypatch.setattr(store, "replace", lose_a_race_to_the_past)
    session.save()
    found = session_class(key)
    assert {name: found.get(name) for name in ("old", "seen", "new")} == {
        "old": 1,
        "seen": True,
        "new": True,
    }
