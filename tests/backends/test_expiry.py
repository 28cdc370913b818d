"""
When sessions expire, and when that is written.
"""

from __future__ import annotations

import time

import pytest

from tests.conftest import stored
from tests.sessions import Calls, Engine, set_clock


def test_the_lifetime_is_extended_once_per_interval(session_class: Engine, calls: Calls) -> None:
    now = time.time()
    set_clock(session_class, now)
    key = stored(session_class, a=1)
    set_clock(session_class, now + 299)
    session = session_class(key)
    session.keys()
    calls.names.clear()
    session.save()
    assert calls == []
    set_clock(session_class, now + 301)
    session.save()
    assert calls == ["replace"]
    session.save()
    assert calls == []
    session_class(key).save()
    assert calls == ["get"]


def test_a_short_session_is_extended_before_it_runs_out(session_class: Engine) -> None:
    session = session_class()
    session.set_expiry(60)
    session.save()
    assert session.loaded is not None
    before = session.loaded.record.expires_at
    set_clock(session_class, time.time() + 7)
    session.save()
    assert session.loaded.record.expires_at >= before + 7


def test_sessions_beyond_30_days_live(session_class: Engine) -> None:
    session = session_class()
    session.set_expiry(60 * 24 * 3600)
    session.save()
    assert session.exists(session.session_key or "")


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
