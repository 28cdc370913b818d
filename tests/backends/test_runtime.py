"""
What all sessions of an engine share.
"""

from __future__ import annotations

from typing import Any

import pytest

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
