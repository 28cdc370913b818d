"""
The system check that asks CouchDB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core import checks

from django_distsession.backends.couchdb import SessionStore
from django_distsession.checks.design_documents import check_design_documents
from tests.stores.couchdb.designs.conftest import Database, migrate, release

Deploy = Callable[..., None]


def run(databases: list[str] | None = None) -> list[checks.CheckMessage]:
    messages = checks.run_checks(databases=["default"] if databases is None else databases)
    return [message for message in messages if (message.id or "").startswith("distsession.")]


@pytest.mark.parametrize(
    ("there", "expected", "text"),
    [
        (release(2), [], ""),
        (release(1), ["distsession.W020"], "has version 1, older than this release's version 2"),
        (release(3), ["distsession.W021"], "has version 3, newer than this release's version 2"),
        (release(2, source="function (doc) {}"), ["distsession.W022"], "is not what this release"),
    ],
    ids=["same", "older", "newer", "edited"],
)
def test_other_documents_than_the_codes_are_warned_about(
    database: Database, deploy: Deploy, there: Any, expected: list[str], text: str
) -> None:
    deploy(there)
    migrate(verbosity=0)
    deploy(release(2))
    messages = run()
    assert [message.id for message in messages] == expected
    assert all(text in message.msg for message in messages)
    assert all("manage.py migratedesigndocs" in message.msg for message in messages[:1]) or (
        expected == ["distsession.W021"]
    )


def test_what_is_missing_is_made_on_first_use_unless_that_is_off(
    sessions: type[SessionStore], database: Database, configure: Callable[..., None]
) -> None:
    assert run() == []
    configure(COUCHDB={"CREATE": False})
    assert {message.id for message in run()} == {"distsession.W020"}
    assert "is missing" in run()[0].msg


def test_a_server_that_is_gone_is_told(
    sessions: type[SessionStore], configure: Callable[..., None]
) -> None:
    configure(COUCHDB={"URL": "http://u:secret@127.0.0.1:1", "CREATE": False})
    (message,) = run()
    # One message for the server, none for each thing that cannot be asked of it.
    assert message.id == "distsession.W024"
    assert "secret" not in message.msg


def test_without_the_option_database_nobody_is_asked(
    sessions: type[SessionStore], configure: Callable[..., None]
) -> None:
    configure(COUCHDB={"URL": "http://127.0.0.1:1"})
    assert run([]) == []
    # Older versions of Django run it then, too, and leave it to the check.
    assert check_design_documents(None) == []


def test_engines_without_couchdb_are_left_alone(
    settings: Any, distsession: dict[str, Any], configure: Callable[..., None]
) -> None:
    configure(COUCHDB={"URL": "http://127.0.0.1:1"})
    settings.SESSION_ENGINE = "django_distsession.backends.memcached"
    assert run() == []
