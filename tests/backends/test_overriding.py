"""
A site's own engine may override any method of Django's contract, with or without its async twin.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from django_distsession.backends.creating import create_gen, cycle_key_gen
from django_distsession.backends.saving import save_gen
from django_distsession.stores.operations import arun
from tests.conftest import stored
from tests.sessions import Engine, contents

# With the arguments that they need, where `key` stands for the session's own.
METHODS: dict[str, tuple[str, ...]] = {
    "load": (),
    "save": (),
    "create": (),
    "exists": ("key",),
    "delete": (),
    "cycle_key": (),
}


def overriding(engine: Engine, *names: str) -> tuple[Engine, list[tuple[Any, ...]]]:
    """
    Return an engine with methods of its own, and the list where these note their calls: name,
    thread and arguments.
    """
    calls: list[tuple[Any, ...]] = []

    def noting(name: str) -> Any:
        method = getattr(engine, name)

        def own(self: Any, *args: Any) -> Any:
            calls.append((name, threading.current_thread().name.partition("_")[0], *args))
            return method(self, *args)

        return own

    return type("Own", (engine,), {name: noting(name) for name in names}), calls


@pytest.mark.parametrize("name", METHODS)
def test_an_overridden_method_serves_async_code_too_on_a_thread(
    in_memory: Engine, name: str
) -> None:
    key = stored(in_memory, a=1)
    own, calls = overriding(in_memory, name)
    session = own(key)
    asyncio.run(getattr(session, f"a{name}")(*[key for _ in METHODS[name]]))
    assert (name, "distsession") in [call[:2] for call in calls]


@pytest.mark.parametrize("name", METHODS)
def test_an_overridden_method_is_not_called_where_its_twin_is_overridden_too(
    in_memory: Engine, name: str
) -> None:
    key = stored(in_memory, a=1)
    own, calls = overriding(in_memory, name, f"a{name}")
    arguments = [key for _ in METHODS[name]]
    asyncio.run(getattr(own(key), f"a{name}")(*arguments))
    assert (f"a{name}", "MainThread", *arguments) in calls


def test_methods_call_each_other_as_they_are_overridden(in_memory: Engine) -> None:
    own, calls = overriding(in_memory, "save", "create", "delete", "_get_new_session_key")
    session = own()
    session["a"] = 1
    session.save()
    old = session.session_key
    session.cycle_key()
    create = ["create", "_get_new_session_key", "save"]
    assert [call[0] for call in calls] == ["save", *create, *create, "delete"]
    assert calls[-1][2:] == (old,)


def test_an_event_loop_awaits_the_twins(in_memory: Engine) -> None:
    names = ["aload", "asave", "acreate", "adelete", "_aget_new_session_key"]
    key = stored(in_memory, a=1)
    own, calls = overriding(in_memory, *names)
    session = own(key)
    asyncio.run(arun(cycle_key_gen(session)))
    assert contents(in_memory, session.session_key or "") == {"a": 1}
    asyncio.run(arun(create_gen(session)))
    new = own()
    asyncio.run(arun(save_gen(new, must_create=False)))
    assert new.session_key
    creating = [("_aget_new_session_key",), ("asave", True)]
    assert [(name, *arguments) for name, _, *arguments in calls] == [
        *[("aload",), ("acreate",), *creating, ("adelete", key)],
        *creating,
        *[("acreate",), *creating],
    ]
