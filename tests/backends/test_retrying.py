"""
Saves that were refused and taken all the same, on scripted stores.
"""

from __future__ import annotations

from typing import Any

import pytest

from django_distsession.stamps import HISTORY
from django_distsession.stores.contract import Conflict, Store, Token, Versioned
from django_distsession.stores.record import Record
from tests.conftest import stored
from tests.sessions import Engine, interposed, save_elsewhere


def overwrite(session_class: Engine, key: str, value: str) -> str:
    """
    Write a value in place of what is there, and return what was there.
    """
    session = session_class(key)
    before: str = session["value"]
    session["value"] = value
    session.save()
    return before


def lose_a_reply(
    store: Store, monkeypatch: pytest.MonkeyPatch, others: Any, *, applied: bool = False
) -> None:
    """
    Have the next save take place, others after it, and be refused then.
    """
    replace = store.replace

    def replace_and_refuse(storage_id: str, record: Record, token: Token) -> Token:
        monkeypatch.setattr(store, "replace", replace)
        replace(storage_id, record, token)
        others()
        raise Conflict(store.get(storage_id), applied=applied)

    monkeypatch.setattr(store, "replace", replace_and_refuse)


def test_a_save_does_not_undo_one_that_had_seen_it(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stored(session_class, value="")
    seen: list[str] = []
    session = session_class(key)
    session["value"] = "first"
    lose_a_reply(
        interposed(session_class),
        monkeypatch,
        lambda: seen.append(overwrite(session_class, key, "second")),
    )
    session.save()
    assert seen == ["first"]
    assert session_class(key)["value"] == "second"
    # What the session shows is what is stored, so that another save of it changes nothing.
    assert session["value"] == "second"
    session["more"] = 1
    session.save()
    assert dict(session_class(key).items()) == {"value": "second", "more": 1}


@pytest.mark.parametrize("change", ["remove", "clear"])
def test_a_removal_does_not_undo_what_came_after_it(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    key = stored(session_class, value="", other=1)
    session = session_class(key)
    if change == "remove":
        del session["value"]
    else:
        session.clear()

    def add() -> None:
        other = session_class(key)
        assert "value" not in other
        other["value"] = "new"
        other.save()

    lose_a_reply(interposed(session_class), monkeypatch, add)
    session.save()
    assert session_class(key)["value"] == session["value"] == "new"
    assert ("other" in session_class(key)) == (change == "remove")


def test_a_save_finds_itself_where_others_wrote_other_keys(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stored(session_class, value="")
    session = session_class(key)
    session["value"] = "mine"

    def add() -> None:
        other = session_class(key)
        other["theirs"] = other["value"]
        other.save()

    lose_a_reply(interposed(session_class), monkeypatch, add)
    session.save()
    assert dict(session_class(key).items()) == {"value": "mine", "theirs": "mine"}
    assert dict(session.items()) == {"value": "mine", "theirs": "mine"}


@pytest.mark.parametrize("applied", [False, True])
def test_how_many_saves_later_a_save_still_finds_itself(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch, applied: bool
) -> None:
    # Where the store knows that the save took place, any number.
    others = HISTORY + 3 if applied else HISTORY - 1
    key = stored(session_class, value="")
    session = session_class(key)
    session["value"] = "first"

    def overwrite_often() -> None:
        for number in range(others):
            overwrite(session_class, key, f"other {number}")

    lose_a_reply(interposed(session_class), monkeypatch, overwrite_often, applied=applied)
    session.save()
    assert session_class(key)["value"] == f"other {others - 1}"


def test_a_save_that_nobody_saw_is_made_again(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stored(session_class, value="")
    session = session_class(key)
    session["value"] = "mine"
    store = interposed(session_class)
    replace = store.replace

    def refuse(storage_id: str, record: Record, token: Token) -> Token:
        monkeypatch.setattr(store, "replace", replace)
        overwrite(session_class, key, "theirs")
        raise Conflict(store.get(storage_id))

    monkeypatch.setattr(store, "replace", refuse)
    session.save()
    assert session_class(key)["value"] == session["value"] == "mine"


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
