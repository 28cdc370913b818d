"""
What all sessions of an engine share.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from django_distsession.clock import Clock
from tests.conftest import stored
from tests.sessions import Calls, Engine, contents, interposed


def test_an_ill_formed_key_causes_no_io_where_keys_are_not_hashed(
    session_class: Engine, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(HASH_KEYS=False)
    calls = Calls(interposed(session_class), monkeypatch)
    session = session_class("_design/x")
    assert session.load() == {}
    assert calls == []


def test_keys_are_stored_as_they_are_where_a_site_wants_it(
    session_class: Engine, configure: Any
) -> None:
    configure(HASH_KEYS=False)
    key = stored(session_class, a=1)
    assert session_class.get_store().get(key) is not None
    assert contents(session_class, key) == {"a": 1}


def test_a_runtime_is_made_once_and_forgotten_when_settings_change(
    session_class: Engine, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = session_class.runtime
    session = session_class()
    assert session.runtime is runtime
    assert session_class.runtime is runtime
    closed: list[bool] = []
    monkeypatch.setattr(runtime.store, "close", lambda: closed.append(True))
    settings.SESSION_COOKIE_AGE = 60
    assert closed == [True]
    assert session_class.runtime is not runtime
    # What has begun goes on with what it began with.
    assert session.runtime is runtime


def test_each_engine_has_a_runtime_of_its_own(in_memory: Engine) -> None:
    other: Engine = type("Other", (in_memory,), {})
    assert other.runtime is not in_memory.runtime


def test_sessions_go_by_the_clock_of_their_engine(in_memory: Engine) -> None:
    now = 1000.0
    own: Engine = type("Own", (in_memory,), {"clock": Clock(now=lambda: now)})
    session = own()
    session["a"] = 1
    session.set_expiry(60)
    session.save()
    assert session.loaded is not None
    record = session.loaded.record
    assert (record.created_at, record.expires_at) == (1000, 1060)
    assert own().exists(session.session_key or "")
    assert own(session.session_key)["a"] == 1
    now = 1060.0
    assert not own().exists(session.session_key or "")
    assert own(session.session_key).load() == {}


@pytest.mark.parametrize("session_class", ["couchdb", "hybrid"], indirect=True)
def test_stores_go_by_the_clock_of_their_engine(session_class: Engine) -> None:
    key = stored(session_class, _auth_user_id=7)
    now = time.time()
    own: Engine = type("Own", (session_class,), {"clock": Clock(now=lambda: now)})
    assert len(own.for_user(7)) == 1
    now += session_class().get_session_cookie_age() + 60
    assert own.for_user(7) == []
    assert own(key).load() == {}
    assert len(session_class.for_user(7)) == 1
