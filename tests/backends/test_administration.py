"""
What operators and sites ask of a store.
"""

from __future__ import annotations

from tests.sessions import Engine


def test_inspect_tells_where_a_session_lives(session_class: Engine) -> None:
    session = session_class()
    assert session.inspect()["copies"] == []
    session["a"] = 1
    session.save()
    about = session.inspect()
    assert about["storage_id"] == session_class.storage_id(session.session_key or "")
    live = [copy for copy in about["copies"] if copy["state"] == "live"]
    assert live
    assert all(copy["version"] == about["version"] for copy in live)
    session_class(session.session_key).flush()
    assert "live" not in {copy["state"] for copy in session.inspect()["copies"]}
