"""
Four methods are enough. What a store cannot do is not asked of it.
"""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_distsession import version_cookie
from django_distsession.stores.garbage import GCResult
from django_distsession.testing import StoreContract
from tests.conftest import stored
from tests.third_party.bare_engine import BareStore, SessionStore


class TestBareStore(StoreContract):
    @pytest.fixture
    def store(self) -> BareStore:
        return BareStore()


@pytest.fixture
def key(settings: Any) -> str:
    settings.SESSION_ENGINE = SessionStore.__module__
    settings.DISTSESSION = {}
    return stored(SessionStore, a=1)


def test_a_session_that_nobody_can_look_at_has_no_copies(key: str) -> None:
    about = SessionStore(key).inspect()
    assert about["storage_id"] == SessionStore.storage_id(key)
    assert about["copies"] == []


def test_a_store_that_says_nothing_has_no_status(key: str) -> None:
    assert SessionStore.status() == []


def test_a_store_that_forgets_by_itself_has_no_garbage(key: str) -> None:
    assert SessionStore.clear_expired() == GCResult()
    out = StringIO()
    call_command("clearsessions", stdout=out)
    assert out.getvalue() == ""
    with pytest.raises(CommandError, match="takes none of --batch-size"):
        call_command("clearsessions", limit=1)


def test_a_store_without_an_index_says_so(key: str) -> None:
    with pytest.raises(NotImplementedError, match="bare_engine keeps no index of users"):
        SessionStore.for_user(1)
    with pytest.raises(NotImplementedError):
        SessionStore.end_for_user(1)
    assert SessionStore(key)["a"] == 1


def test_a_store_of_one_copy_is_read_once(key: str, caplog: pytest.LogCaptureFixture) -> None:
    session = SessionStore(key)
    # The browser has seen a later save.
    session.version_cookie = version_cookie.sign(SessionStore.storage_id(key) or "", 9)
    assert session["a"] == 1
    assert SessionStore.stale_loads() == 1
    assert "no store has a newer copy" in caplog.text


def test_connections_that_there_are_none_of_are_not_closed(key: str, settings: Any) -> None:
    settings.SESSION_COOKIE_AGE = 60
    assert SessionStore(key).load() == {}
