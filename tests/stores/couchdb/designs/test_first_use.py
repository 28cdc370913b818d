"""
What a site does by itself when design documents are missing, and what it leaves to the command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import StoreMisconfigured, StoreUnavailable
from django_distsession.stores.couchdb.client import Client
from django_distsession.stores.couchdb.designs import Design
from django_distsession.stores.couchdb.designs.setup import SetUp
from tests.stores.couchdb.designs.conftest import Database, migrate, raised, release

Engine = type[SessionStore]
Requests = list[tuple[str, str]]


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    """
    All requests from now on, as method and resource.
    """
    made: Requests = []
    request = Client.request

    def noting(self: Client, method: str, resource: str | None, *read: Any, **options: Any) -> Any:
        made.append((method, resource or ""))
        return request(self, method, resource, *read, **options)

    monkeypatch.setattr(Client, "request", noting)
    return made


def save(sessions: Engine) -> str:
    session = sessions()
    session["a"] = 1
    session.save()
    assert session.session_key is not None
    return session.session_key


def test_the_first_request_creates_documents_and_builds_no_index(
    sessions: Engine, database: Database, requests: Requests, bundled: tuple[Design, ...]
) -> None:
    key = save(sessions)
    assert sessions(key)["a"] == 1
    assert database.versions() == {design.name: design.version for design in bundled}
    assert [resource for _, resource in requests if "_view" in resource] == []
    requests.clear()
    session = sessions(key)
    session["b"] = 2
    session.save()
    assert [resource for _, resource in requests if "_" in resource] == []


@pytest.mark.parametrize("command", ["clearsessions", "for_user"])
def test_a_database_made_by_hand_gets_its_documents_when_they_are_needed(
    sessions: Engine, database: Database, bundled: tuple[Design, ...], command: str
) -> None:
    database.create()
    save(sessions)
    assert database.versions() == {}
    if command == "clearsessions":
        call_command(command, verbosity=0)
    else:
        assert sessions.for_user(7) == []
    assert database.versions() == {design.name: design.version for design in bundled}


def test_where_nothing_is_created_the_error_names_the_command(
    sessions: Engine, database: Database, configure: Callable[..., None]
) -> None:
    database.create()
    configure(COUCHDB={"CREATE": False})
    with pytest.raises(CommandError, match="migratedesigndocs"):
        call_command("clearsessions")
    with pytest.raises(StoreMisconfigured, match="migratedesigndocs"):
        sessions.for_user(7)
    assert database.versions() == {}
    migrate(verbosity=0)
    call_command("clearsessions", verbosity=0)


def test_first_use_replaces_nothing(
    sessions: Engine, database: Database, deploy: Callable[..., None]
) -> None:
    database.create()
    database.put(release(1).document())
    database.put(release(3, name="newer").document())
    before = database.designs()
    deploy(release(2), release(2, name="newer"), release(2, name="missing"))
    sessions.get_store()._first_use._set_up.run()  # type: ignore[attr-defined]
    after = database.designs()
    assert after.pop("missing")["distsession_version"] == 2
    assert after == before


def test_another_process_may_create_a_document_first(
    sessions: Engine, database: Database, deploy: Callable[..., None], monkeypatch: Any
) -> None:
    database.create()
    database.put(release(1).document())
    deploy(release(1))
    # It was not there a moment ago.
    monkeypatch.setattr(SetUp, "_stored", lambda self, design: None)
    sessions.get_store()._first_use._set_up.run()  # type: ignore[attr-defined]
    assert database.versions() == {"purpose": 1}


def test_a_database_that_is_not_there_yet_is_no_absent_session(
    sessions: Engine, database: Database, monkeypatch: Any
) -> None:
    # Created on one node of a cluster, and not yet known to another.
    monkeypatch.setattr(SetUp, "prepare_database", lambda self: None)
    with pytest.raises(StoreUnavailable, match="does not show"):
        save(sessions)


def test_an_index_that_an_older_document_lacks_is_left_to_the_command(
    sessions: Engine, database: Database, bundled: tuple[Design, ...]
) -> None:
    database.create()
    for design in bundled:
        views = {"of_old": {"map": "function (doc) {}"}}
        document = {**design.document(), "views": views}
        database.put(document | {"distsession_version": 0})
    before = database.designs()
    with pytest.raises(StoreMisconfigured, match=r'older than this code.*"manage.py migratedesign'):
        sessions.for_user(7)
    # Requests need no index.
    assert sessions(save(sessions))["a"] == 1
    assert database.designs() == before
    migrate(verbosity=0)
    assert sessions.for_user(7) == []


def test_old_code_works_with_the_documents_of_a_newer_release(
    sessions: Engine, database: Database, bundled: tuple[Design, ...]
) -> None:
    database.create()
    for design in bundled:
        database.put(raised(design).document())
    before = database.designs()
    call_command("clearsessions", verbosity=0)
    assert sessions.for_user(7) == []
    assert database.designs() == before
