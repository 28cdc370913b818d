"""
`manage.py clearsessions`: its options, and what it tells.
"""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_distsession.backends.couchdb import SessionStore
from tests.conftest import engine_class
from tests.stores.couchdb.conftest import Database, add_expired, stored

Engine = type[SessionStore]


def test_it_tells_what_it_did(sessions: Engine, database: Database) -> None:
    stored(sessions)
    add_expired(database, 3)
    output = io.StringIO()
    call_command("clearsessions", stdout=output)
    assert "3 expired sessions seen" in output.getvalue()
    assert "compacts" in output.getvalue()
    output = io.StringIO()
    call_command("clearsessions", stdout=output)
    assert "0 expired sessions seen" in output.getvalue()
    assert "compacts" not in output.getvalue()


def test_its_options(sessions: Engine, database: Database) -> None:
    stored(sessions)
    add_expired(database, 9)
    output = io.StringIO()
    call_command("clearsessions", "--dry-run", stdout=output)
    assert output.getvalue() == "9 expired sessions would be removed.\n"
    output = io.StringIO()
    options = ["--limit", "5", "--batch-size", "2", "--max-seconds", "60"]
    call_command("clearsessions", *options, stdout=output)
    assert "5 expired sessions seen" in output.getvalue()
    with pytest.raises(CommandError, match="whole number"):
        call_command("clearsessions", "--limit", "0")


def test_quiet(sessions: Engine) -> None:
    stored(sessions)
    output = io.StringIO()
    call_command("clearsessions", verbosity=0, stdout=output)
    assert output.getvalue() == ""


def test_a_progress_bar_on_a_terminal(
    sessions: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stored(sessions)
    add_expired(database, 4)
    terminal = Terminal()
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    monkeypatch.setattr("sys.stderr", terminal)
    call_command("clearsessions", stdout=io.StringIO(), stderr=terminal)
    assert "4/4" in terminal.getvalue()


@pytest.mark.django_db
def test_djangos_engines_are_served_unchanged(settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    output = io.StringIO()
    call_command("clearsessions", stdout=output)
    assert output.getvalue() == ""
    with pytest.raises(CommandError, match="takes none of --batch-size"):
        call_command("clearsessions", "--limit", "5")


@pytest.mark.usefixtures("distsession")
def test_the_hybrid_engine_takes_the_options_too(settings: Any) -> None:
    stored(engine_class(settings, "hybrid"))  # type: ignore[arg-type]
    output = io.StringIO()
    call_command("clearsessions", "--dry-run", stdout=output)
    assert output.getvalue() == "0 expired sessions would be removed.\n"
