"""
What is a session, and what is none.
"""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any

import pytest

from django_distsession.backends.loading import Seen
from django_distsession.backends.records import CLOCK_SKEW
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stamps import Stamp
from django_distsession.state import first_state, new_tag
from django_distsession.stores.record import Record
from tests.conftest import stored
from tests.sessions import SUSPICIOUS, Engine, contents, interposed, save_elsewhere


def test_an_expired_session_is_no_session(session_class: Engine) -> None:
    session = session_class()
    session["a"] = 1
    session.set_expiry(-1)
    session.save()
    key = session.session_key or ""
    assert not session.exists(key)
    expired = session_class(key)
    assert expired.load() == {}
    assert expired.session_key is None


@pytest.mark.parametrize(
    "key",
    [
        "",
        "abcdefg",
        "x" * 10_000,
        "sitzungsschlüssel",
        "abcdefgh\r\nset x 0 0 1\r\n1",
        "abcdefgh\0",
        "_design/distsession_expiry",
        "../_all_docs",
        "abcdefgh?rev=1",
        "\ud800" * 8,
        "abcdefgh ijk",
    ],
)
@pytest.mark.parametrize("hash_keys", [True, False])
def test_an_odd_cookie_is_no_session(
    session_class: Engine, configure: Any, key: str, hash_keys: bool
) -> None:
    configure(HASH_KEYS=hash_keys)
    session = session_class(key)
    assert session.load() == {} if session.session_key else not session.session_key
    assert session.get("a") is None
    assert session.session_key is None
    assert not session.exists(key)
    session.delete(key)
    session["a"] = 1
    session.save()
    assert session.session_key != key
    assert contents(session_class, session.session_key or "") == {"a": 1}


def replace_record(session_class: Engine, key: str, **changes: Any) -> None:
    storage_id = session_class.storage_id(key) or ""
    found = session_class.get_store().get(storage_id)
    assert found is not None
    changed: Record = found.record._replace(**changes)
    session_class.get_store().replace(storage_id, changed, found.token)


@pytest.mark.parametrize("damage", ["altered", "truncated", "empty", "foreign"])
def test_a_damaged_record_is_reported_and_is_no_session(
    session_class: Engine, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    key, other = stored(session_class, word="tellnobody"), stored(session_class, word="other")
    found = session_class.get_store().get(session_class.storage_id(key) or "")
    foreign = session_class.get_store().get(session_class.storage_id(other) or "")
    assert found is not None
    assert foreign is not None
    payload = found.record.payload
    damaged = {
        "altered": bytes([payload[0] ^ 1]) + payload[1:],
        "truncated": payload[:-1],
        "empty": b"",
        "foreign": foreign.record.payload,
    }[damage]
    replace_record(session_class, key, payload=damaged, version=Stamp(9, "x" * 8))
    session = session_class(key)
    with caplog.at_level(logging.DEBUG):
        assert session.load() == {}
    assert session.session_key is None
    assert [record.name for record in caplog.records if record.levelno >= logging.WARNING] == [
        SUSPICIOUS
    ]
    assert "tellnobody" not in caplog.text
    assert key not in caplog.text


@pytest.mark.parametrize("is_credible", [False, True])
def test_a_record_that_was_prolonged_by_more_than_clocks_differ_is_no_session(
    session_class: Engine, is_credible: bool
) -> None:
    now, key = int(time.time()), secrets.token_hex(16)
    expires_at = now - CLOCK_SKEW + (60 if is_credible else 0)
    state = first_state({"a": 1}, created_at=now, expires_at=expires_at, tag=new_tag())
    storage_id = session_class.storage_id(key) or ""
    record = session_class.runtime.records.encode(storage_id, state, b'{"a": 1}')
    session_class.get_store().add(storage_id, record._replace(expires_at=now + 1000))
    assert session_class(key).load() == ({"a": 1} if is_credible else {})


def test_an_unavailable_store_is_not_an_empty_session(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stored(session_class, a=1)

    def fail(*args: Any) -> Any:
        raise StoreUnavailable("down")

    monkeypatch.setattr(interposed(session_class), "get", fail)
    session = session_class(key)
    with pytest.raises(StoreUnavailable):
        session.load()
    assert session.session_key == key
    assert not session.is_empty()


def test_loading_by_hand_in_the_middle_undoes_nothing(session_class: Engine) -> None:
    key = stored(session_class, n=1)
    session = session_class(key)
    assert session["n"] == 1
    save_elsewhere(session_class, key, elsewhere=True)
    assert session.load() == {"n": 1, "elsewhere": True}
    session["n"] = 2
    session.save()
    assert dict(session_class(key).items()) == {"n": 2, "elsewhere": True}


def test_the_latest_expiry_that_was_seen_is_remembered() -> None:
    seen, state = Seen(), first_state({}, created_at=0, expires_at=0, tag=new_tag())
    for expires_at, latest in [(10, 10), (20, 20), (15, 20)]:
        record = Record(state.version, expires_at, 0)
        loaded = seen.remember("id", record, None, state, b"{}")
        assert (loaded.latest, seen["id"]) == (latest, loaded)
