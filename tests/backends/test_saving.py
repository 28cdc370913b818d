"""
What a save writes, and what it leaves as others made it.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import stored
from tests.sessions import Calls, Engine, contents, save_elsewhere


def test_loading_and_saving_takes_one_read_and_one_write(
    session_class: Engine, calls: Calls
) -> None:
    session = session_class(stored(session_class, a=1))
    calls.names.clear()
    session["a"] = 2
    session.save()
    assert calls == ["get", "replace"]
    session["a"] = 3
    session.save()
    assert calls == ["replace"]
    assert contents(session_class, session.session_key or "") == {"a": 3}


def test_writing_what_is_there_writes_nothing(session_class: Engine, calls: Calls) -> None:
    session = session_class(stored(session_class, a=1, cart=["tea"], on=True))
    session["a"] = 1
    session["cart"] = ["tea"]
    session["on"] = True
    calls.names.clear()
    session.save()
    assert calls == []


def test_lists_that_changed_in_place_are_written(session_class: Engine) -> None:
    key = stored(session_class, cart=["tea"], deep={"a": {"b": [1]}})
    session = session_class(key)
    session["cart"].append("milk")
    session["deep"]["a"]["b"].append(2)
    session.save()
    assert contents(session_class, key) == {"cart": ["tea", "milk"], "deep": {"a": {"b": [1, 2]}}}
    session["cart"].remove("tea")
    session.save()
    assert contents(session_class, key)["cart"] == ["milk"]


def test_concurrent_requests_that_change_different_keys_both_survive(
    session_class: Engine,
) -> None:
    key = stored(session_class, base=1, gone=1)
    one, two, three = session_class(key), session_class(key), session_class(key)
    for session in (one, two, three):
        session.keys()
    one["one"] = 1
    two["two"] = 2
    del three["gone"]
    for session in (one, two, three):
        session.save()
    assert contents(session_class, key) == {"base": 1, "one": 1, "two": 2}


def test_for_one_key_the_last_save_wins(session_class: Engine) -> None:
    key = stored(session_class, who="")
    for turn in range(6):
        one, two = session_class(key), session_class(key)
        one["who"], two["who"] = f"one {turn}", f"two {turn}"
        one.save()
        assert contents(session_class, key) == {"who": f"one {turn}"}
        two.save()
        assert contents(session_class, key) == {"who": f"two {turn}"}


def test_after_a_save_the_session_shows_what_others_changed(session_class: Engine) -> None:
    key = stored(session_class, mine=["x"], theirs=1, dropped=1)
    session, other = session_class(key), session_class(key)
    mine = session["mine"]
    other["theirs"] = 2
    other["new"] = 3
    del other["dropped"]
    other.save()
    mine.append("y")
    session.save()
    assert dict(session.items()) == {"mine": ["x", "y"], "theirs": 2, "new": 3}
    mine.append("z")
    session.save()
    assert contents(session_class, key) == {"mine": ["x", "y", "z"], "theirs": 2, "new": 3}


def test_what_others_changed_is_not_written_back(session_class: Engine) -> None:
    key = stored(session_class, flag=1, list=[1])
    session, other = session_class(key), session_class(key)
    session["mine"] = 1
    other["flag"], other["list"] = True, [True]
    other.save()
    session.save()
    session["mine"] = 2
    session.save()
    assert contents(session_class, key)["flag"] is True
    assert contents(session_class, key)["list"][0] is True


def test_no_update_of_many_threads_is_lost(session_class: Engine) -> None:
    key = stored(session_class)
    threads, rounds = 8, 10
    start = threading.Barrier(threads)

    def work(number: int) -> None:
        for turn in range(rounds):
            session = session_class(key)
            session.keys()
            if turn == 0:
                start.wait()
            session[f"{number}.{turn}"] = turn
            session.save()

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, number) for number in range(threads)]:
            done.result()
    assert len(contents(session_class, key)) == threads * rounds


def test_clearing_and_refilling_leaves_only_what_is_new(session_class: Engine) -> None:
    key = stored(session_class, old=1)
    other = session_class(key)
    other.keys()
    session = session_class(key)
    session.clear()
    session["new"] = 1
    session.save()
    assert contents(session_class, key) == {"new": 1}
    other["old"] = 1
    other.save()
    assert contents(session_class, key) == {"new": 1}


def test_a_save_after_clearing_leaves_alone_what_others_added_since(
    session_class: Engine,
) -> None:
    key = stored(session_class, old=1)
    session = session_class(key)
    session.clear()
    session["new"] = 1
    session.save()
    save_elsewhere(session_class, key, aside=1)
    session["new"] = 2
    session.save()
    assert contents(session_class, key) == {"new": 2, "aside": 1}


def test_clearing_outlives_what_others_add_meanwhile(session_class: Engine) -> None:
    key = stored(session_class, old=1)
    session, other = session_class(key), session_class(key)
    session.keys()
    session.clear()
    session["new"] = 1
    other["aside"] = 1
    other.save()
    session.save()
    assert contents(session_class, key) == {"new": 1}


@pytest.mark.parametrize("create", [False, True])
def test_what_cannot_be_serialised_changes_nothing(
    session_class: Engine, calls: Calls, create: bool
) -> None:
    key = stored(session_class, a=1)
    session = session_class() if create else session_class(key)
    session["a"] = object()
    session.accessed = True
    calls.names.clear()
    with pytest.raises(TypeError):
        session.save()
    assert calls == []
    assert contents(session_class, key) == {"a": 1}


def test_keys_that_are_no_text_become_text_as_in_json(session_class: Engine) -> None:
    session = session_class()
    session[1] = "one"
    session["1"] = "text"
    session.save()
    assert contents(session_class, session.session_key or "") == {"1": "text"}
    session["two"] = 2
    session.save()
    assert contents(session_class, session.session_key or "") == {"1": "text", "two": 2}


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


def test_the_key_of_an_expired_session_may_be_taken_again(session_class: Engine) -> None:
    for turn in range(8):
        session = session_class()
        session["old"] = turn
        session.set_expiry(-1)
        session.save()
        again = session_class(session.session_key)
        again.save(must_create=True)
        assert again.exists(session.session_key or "")
        assert contents(session_class, session.session_key or "") == {}
