"""
Sessions that are ended stay ended.
"""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.contrib.sessions.backends.base import CreateError, UpdateError

from django_distsession.stores.record import Record
from tests.conftest import stored
from tests.sessions import Calls, Engine, contents


def test_an_ended_session_stays_ended(session_class: Engine) -> None:
    key = stored(session_class, a=1)
    late = session_class(key)
    late.keys()
    session_class(key).flush()
    assert not session_class(key).exists(key)
    assert contents(session_class, key) == {}
    late["a"] = 2
    with pytest.raises(UpdateError):
        late.save()
    assert contents(session_class, key) == {}
    with pytest.raises(CreateError):
        session_class(key).save(must_create=True)


def test_flushing_a_loaded_session_takes_one_write(session_class: Engine, calls: Calls) -> None:
    key = stored(session_class, a=1)
    session = session_class(key)
    session.keys()
    calls.names.clear()
    session.flush()
    assert calls == ["end"]
    assert session.session_key is None


def test_deleting_what_does_not_exist_does_nothing(session_class: Engine, calls: Calls) -> None:
    session_class("x" * 32).delete()
    assert calls == ["get"]
    session_class().delete()
    assert calls == []


def test_a_tombstone_outlives_the_session_and_holds_nothing_of_it(session_class: Engine) -> None:
    session = session_class()
    session["_auth_user_id"] = "42"
    session.set_expiry(90 * 24 * 3600)
    session.save()
    assert session.session_key is not None
    storage_id = session_class.storage_id(session.session_key)
    assert storage_id is not None
    before = session_class.get_store().get(storage_id)
    assert before is not None
    session_class().delete(session.session_key)
    found = session_class.get_store().get(storage_id)
    assert found is not None
    tombstone = found.record
    assert tombstone.ended
    assert tombstone.expires_at >= before.record.expires_at
    assert (tombstone.payload, tombstone.user) == (b"", None)


def test_a_shortened_session_is_remembered_as_long_as_longer_copies_live(
    session_class: Engine,
) -> None:
    # Longer than sessions live that nobody said anything of.
    session = session_class()
    session.set_expiry(40 * 24 * 3600)
    session.save()
    key = session.session_key or ""
    storage_id = session_class.storage_id(key) or ""
    store = session_class.get_store()

    def held() -> Record:
        found = store.get(storage_id)
        assert found is not None
        return found.record

    longest = held().expires_at
    session = session_class(key)
    session.set_expiry(60)
    session.save()
    assert held().expires_at < longest <= held().retention_deadline
    # Nor does a later save forget it, or a logout by somebody who never saw the longer one.
    session = session_class(key)
    session["a"] = 2
    session.save()
    assert held().expires_at < longest <= held().retention_deadline
    session_class(key).delete(key)
    assert held().ended
    assert held().expires_at > longest


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
