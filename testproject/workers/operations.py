"""
What a worker can be told to do. Public interfaces of the package only.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

from testproject.workers import names

# What an operation may be told to change: a key that all processes fight for.
CONTENDED = "contended"
COUCHDB = "CouchDB"
POLL_INTERVAL = 0.005
PATIENCE = 30.0


# Where sessions are used by their async methods: the loop, which runs on a thread of its own all
# the time, as that of a web server does.
_loop: asyncio.AbstractEventLoop | None = None


def configure(
    engine: str,
    distsession: dict[str, Any],
    addresses: Mapping[str, int] | None = None,
    is_async: bool = False,
) -> None:
    """
    Use this engine with these settings from now on, and know nothing of servers.

    addresses: host names that this process finds at ports of this machine, so that processes may
    call one server by one name, and each reach it by a link of its own.
    """
    import django
    from django.conf import settings
    from django.core.signals import setting_changed

    global _loop
    _loop = _running_loop() if is_async else None
    os.environ["DJANGO_SETTINGS_MODULE"] = "testproject.settings"
    names.resolve(addresses or {})
    settings.SESSION_ENGINE = f"django_distsession.backends.{engine}"
    settings.DISTSESSION = distsession
    django.setup()
    for setting in ("SESSION_ENGINE", "DISTSESSION"):
        value = getattr(settings, setting)
        setting_changed.send(sender=None, setting=setting, value=value, enter=True)


def _running_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


def session_class() -> Any:
    from django.conf import settings

    return import_module(settings.SESSION_ENGINE).SessionStore


def drive(method: Callable[..., Any], *args: Any) -> Any:
    """
    Call a session's method, or its async twin.
    """
    if _loop is None:
        return method(*args)
    twin = getattr(getattr(method, "__self__"), f"a{method.__name__}")  # noqa: B009
    return asyncio.run_coroutine_threadsafe(twin(*args), _loop).result()


def create(values: dict[str, Any]) -> str | None:
    session = session_class()()
    drive(session.update, values)
    drive(session.save)
    key: str | None = session.session_key
    return key


def read(key: str) -> dict[str, Any]:
    """
    Return what a session holds: nothing if there is no such session.
    """
    return dict(drive(session_class()(key).items))


def write(key: str, values: dict[str, Any]) -> dict[str, Any]:
    session = session_class()(key)
    drive(session.update, values)
    drive(session.save)
    return dict(drive(session.items))


def change(
    key: str, values: dict[str, Any], contender: str | None = None, pause: float = 0.0
) -> dict[str, Any]:
    """
    Load a session, change it a while later, and save it; make no new one if there is none.

    contender: who also sets the key that all fight for, to its name and that which it saw there.

    Return what was seen ({}: no such session) and what became of it: "saved", "gone", or
    "unavailable", with the error.
    """
    from django.contrib.sessions.backends.base import UpdateError

    from django_distsession.exceptions import StoreUnavailable

    seen: dict[str, Any] = {}
    try:
        session = session_class()(key)
        seen = dict(session.items())
        if not seen:
            return {"seen": seen, "outcome": "gone"}
        time.sleep(pause)
        session.update(values)
        if contender is not None:
            session[CONTENDED] = {"by": contender, "saw": seen.get(CONTENDED, {}).get("by")}
        session.save()
    except UpdateError:
        return {"seen": seen, "outcome": "gone"}
    except StoreUnavailable as error:
        return {"seen": seen, "outcome": "unavailable", "error": str(error)}
    return {"seen": seen, "outcome": "saved"}


def fight(key: str, name: str, rounds: int) -> list[list[Any]]:
    """
    Overwrite one value that others overwrite too, and return for each round: what was there, what
    was written, when the read began and ended, and when the save ended, by the system's clock.
    """
    sessions, log = session_class(), []
    for number in range(rounds):
        # Now one comes between another's read and save, and now it does not.
        time.sleep(random.uniform(0, 0.002))
        began = time.monotonic()
        session = sessions(key)
        saw = session["value"]
        seen_at = time.monotonic()
        wrote = session["value"] = f"{name}{number}"
        session.save()
        log.append([saw, wrote, began, seen_at, time.monotonic()])
    return log


def flush(key: str) -> None:
    drive(session_class()(key).flush)


def down() -> list[str]:
    """
    Return the servers that count as down in this process.
    """
    status = session_class().status()
    # What stands for all CouchDB nodes has no address of its own.
    return [one.get("server", COUCHDB) for one in status if not one.get("up", True)]


def recover(*servers: str) -> None:
    """
    Use all servers until those that are named, or all, count as up here too.
    """
    from django_distsession.exceptions import StoreUnavailable

    over = time.monotonic() + PATIENCE
    while awaited := [server for server in down() if not servers or server in servers]:
        if time.monotonic() > over:
            raise TimeoutError(f"{awaited} still count as down after {PATIENCE} s")
        store, nobody = session_class().get_store(), secrets.token_hex(32)
        store.inspect(nobody)
        if COUCHDB in awaited:
            with suppress(StoreUnavailable):
                store.get(nobody)
        time.sleep(POLL_INTERVAL)


def time_loads(keys: list[str], seconds: float, pause: float) -> list[float]:
    """
    Load sessions in turn for a while, each at least once; return the microseconds of each load.
    """
    over, times = time.monotonic() + seconds, []
    for number, key in enumerate(itertools.cycle(keys)):
        if number >= len(keys) and time.monotonic() >= over:
            break
        times.append(_timed(key))
        time.sleep(pause)
    return times


def find_out(keys: list[str]) -> list[float]:
    """
    Load sessions until a server counts as down; return the microseconds of each load.
    """
    times: list[float] = []
    over = time.monotonic() + PATIENCE
    for key in itertools.cycle(keys):
        if down() or time.monotonic() > over:
            break
        times.append(_timed(key))
    return times


def _timed(key: str) -> float:
    started = time.perf_counter_ns()
    # A session that could not be loaded is empty.
    assert read(key)
    return (time.perf_counter_ns() - started) / 1000


def repair() -> None:
    from django.core.management import call_command

    call_command("repairsessions", no_progress=True, verbosity=0)


OPERATIONS: dict[str, Callable[..., Any]] = {
    operation.__name__: operation
    for operation in (
        configure,
        create,
        read,
        write,
        change,
        fight,
        flush,
        down,
        recover,
        time_loads,
        find_out,
        repair,
    )
}
