"""
Sessions under new keys.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.sessions.backends.base import CreateError

from django_distsession.exceptions import StoreUnavailable
from tests.conftest import stored
from tests.sessions import Calls, Engine, contents, interposed


def test_creating_takes_one_write(session_class: Engine, calls: Calls) -> None:
    stored(session_class, a=1)
    assert calls == ["add"]


def test_a_key_that_is_taken_is_refused(session_class: Engine) -> None:
    key = stored(session_class, a=1)
    with pytest.raises(CreateError):
        session_class(key).save(must_create=True)
    assert contents(session_class, key) == {"a": 1}


def test_cycling_the_key_keeps_the_data_and_ends_the_old_session(session_class: Engine) -> None:
    session = session_class(stored(session_class, a=1))
    old = session.session_key or ""
    session.cycle_key()
    assert session.session_key != old
    assert contents(session_class, session.session_key or "") == {"a": 1}
    assert not session.exists(old)


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
