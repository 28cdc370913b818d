"""
A value that changed in place is written, however the request came by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import stored
from tests.sessions import Engine, save_elsewhere


def by_popping(session: Any) -> list[str]:
    cart: list[str] = session.pop("cart")
    session["cart"] = cart
    return cart


def by_replacing(session: Any) -> list[str]:
    session["cart"] = cart = ["book"]
    session.save()
    return cart


def by_updating(session: Any) -> list[str]:
    cart = ["book"]
    session.update({"cart": cart})
    session.save()
    return cart


def by_loading(session: Any) -> list[str]:
    session["cart"] = cart = session.load()["cart"]
    session.save()
    return cart  # type: ignore[no-any-return]


def after_a_save(session: Any) -> list[str]:
    cart: list[str] = session["cart"]
    session["other"] = 1
    session.save()
    return cart


def after_a_new_key(session: Any) -> list[str]:
    cart: list[str] = session["cart"]
    session.cycle_key()
    return cart


async def asynchronously_replaced(session: Any) -> list[str]:
    cart = ["book"]
    await session.aset("cart", cart)
    await session.asave()
    return cart


def awaited(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda session: asyncio.run(call(session))


async def asynchronously_listed(session: Any) -> Any:
    return dict(await session.aitems())["cart"]


async def asynchronously_among_values(session: Any) -> Any:
    return next(iter(await session.avalues()))


WAYS = {
    "subscript": lambda session: session["cart"],
    "get": lambda session: session.get("cart"),
    "setdefault": lambda session: session.setdefault("cart", []),
    "items": lambda session: dict(session.items())["cart"],
    "values": lambda session: next(iter(session.values())),
    "pop": by_popping,
    "set": by_replacing,
    "update": by_updating,
    "load": by_loading,
    "the dict itself": lambda session: session._session["cart"],
    "before a save": after_a_save,
    "before a new key": after_a_new_key,
    "aget": awaited(lambda session: session.aget("cart")),
    "asetdefault": awaited(lambda session: session.asetdefault("cart", [])),
    "aitems": awaited(asynchronously_listed),
    "avalues": awaited(asynchronously_among_values),
    "aset": awaited(asynchronously_replaced),
}


def save_after_another(session: Any, session_class: Engine) -> None:
    """
    Save what must be merged into another save: only what is known to have changed survives that.
    """
    other = session_class(session.session_key)
    other["elsewhere"] = True
    other.save()
    session.save()


@pytest.mark.parametrize("way", WAYS)
def test_a_list_that_changed_in_place_is_written(session_class: Engine, way: str) -> None:
    session = session_class()
    session["cart"] = ["book"]
    session.save()
    session = session_class(session.session_key)
    WAYS[way](session).append("lamp")
    session["last_seen"] = 2
    save_after_another(session, session_class)
    assert session_class(session.session_key)["cart"] == ["book", "lamp"]


def test_a_list_that_others_changed_meanwhile_is_left_as_they_made_it(
    session_class: Engine,
) -> None:
    session = session_class()
    session.update({"cart": ["book"], "last_seen": 1})
    session.save()
    here, there = (session_class(session.session_key) for _ in range(2))
    here["last_seen"] = 2
    there["cart"].append("lamp")
    there.save()
    here.save()
    assert here["cart"] == ["book", "lamp"]
    # And what was taken over can change in place like anything else.
    here["cart"].append("desk")
    here.save()
    assert session_class(session.session_key)["cart"] == ["book", "lamp", "desk"]


def test_a_class_of_ones_own_may_change_what_it_loads(session_class: Engine) -> None:
    class Own(session_class):  # type: ignore[valid-type, misc]
        def load(self) -> dict[str, Any]:
            values: dict[str, Any] = super().load()
            values["cart"].append("lamp")
            return values

    session = session_class()
    session.update({"cart": ["book"], "last_seen": 1})
    session.save()
    own = Own(session.session_key)
    own["last_seen"] = 2
    save_after_another(own, session_class)
    assert session_class(session.session_key)["cart"] == ["book", "lamp"]


def test_what_nobody_was_given_is_not_looked_into(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_class()
    session.update({"cart": ["book"], "last_seen": 1})
    session.save()
    session = session_class(session.session_key)
    assert session["last_seen"] == 1
    session["last_seen"] = 2
    codec = session_class.runtime.records.codec
    unpacked: list[bytes] = []
    loads = codec.loads

    def noting(data: bytes) -> Any:
        unpacked.append(data)
        return loads(data)

    monkeypatch.setattr(codec, "loads", noting)
    session.save()
    assert not unpacked
    session["cart"]
    session["last_seen"] = 3
    session.save()
    assert unpacked


def test_a_change_in_place_under_a_key_that_became_text_is_found(session_class: Engine) -> None:
    session = session_class()
    seen = ["book"]
    session[7] = seen
    session.save()
    seen.append("lamp")
    session.modified = True
    session.save()
    assert session_class(session.session_key)["7"] == ["book", "lamp"]


def test_a_list_that_was_taken_out_and_replaced_is_not_written(session_class: Engine) -> None:
    key = stored(session_class, cart=["book"], n=1)
    session = session_class(key)
    taken_out = session.pop("cart")
    session["cart"] = list(taken_out)
    taken_out.append("lamp")
    session["n"] = 2
    session.save()
    assert session_class(key)["cart"] == ["book"]


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
