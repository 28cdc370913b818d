"""
A database with sessions, and releases that want different design documents.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command

from django_distsession.backends.couchdb import SessionStore
from django_distsession.backends.runtime import runtimes
from django_distsession.stores.couchdb import designs
from django_distsession.stores.couchdb.client import Client
from django_distsession.stores.couchdb.client.connect import connect
from django_distsession.stores.couchdb.designs import Design
from testproject.servers import CouchDBServer
from tests.stores.couchdb import conftest as couchdb_conftest

EMIT = "function (doc) {\n  emit(doc._id, null);\n}"


def release(version: int, *, name: str = "purpose", source: str | None = None) -> Design:
    """
    A design as some release has it: each version has another map function.
    """
    source = source or EMIT.replace("null", str(version))
    return Design(name, version, {"language": "javascript", "views": {"v": {"map": source}}}, {})


def raised(design: Design, by: int = 1) -> Design:
    """
    The same design in a later release, with a view more and so with another index.
    """
    views = {**design.content["views"], f"new_{by}": {"map": EMIT}}
    content = {**design.content, "views": views}
    return dataclasses.replace(design, version=design.version + by, content=content, recorded={})


class Database(couchdb_conftest.Database):
    """
    The database of one test, seen from outside.
    """

    def create(self) -> None:
        assert self.http.put("").status_code in (201, 202)

    def designs(self) -> dict[str, dict[str, Any]]:
        """
        All design documents, by name.
        """
        query = {"startkey": '"_design/"', "endkey": '"_design0"', "include_docs": "true"}
        rows = self.http.get("_all_docs", params=query).json()["rows"]
        return {row["id"].removeprefix("_design/"): row["doc"] for row in rows}

    def versions(self) -> dict[str, int]:
        found = self.designs()
        return {name: document["distsession_version"] for name, document in found.items()}

    def fill(self, number: int, *, expired: int = 0) -> None:
        """
        Add sessions of the user "7", and some that expired long ago.
        """
        documents = [
            {
                "_id": f"{n:064x}",
                "type": "session",
                "version": [1, "tag"],
                "data": "",
                "user": "7",
                "created_at": 1,
                "updated_at": 1,
                "expires_at": 1000 if n < expired else 4_000_000_000,
                "ended": False,
            }
            for n in range(number)
        ]
        for start in range(0, number, 1000):
            body = {"docs": documents[start : start + 1000]}
            assert self.http.post("_bulk_docs", json=body).status_code in (201, 202)


@pytest.fixture
def database(couchdb: CouchDBServer, distsession: dict[str, Any]) -> Iterator[Database]:
    """
    Not yet created.
    """
    opened = Database(couchdb.url, distsession["COUCHDB"]["DATABASE"])
    yield opened
    opened.close()


@pytest.fixture
def client(couchdb: CouchDBServer, database: Database) -> Iterator[Client]:
    """
    What a migration uses; the database is there.
    """
    database.create()
    opened = Client(connect([couchdb.url], timeout=10, pool_size=8), database.name)
    yield opened
    opened.close()


@pytest.fixture
def deploy(sessions: type[SessionStore], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """
    Return a function that makes this process run the code of a release with these designs.
    """

    def use(*wanted: Design) -> None:
        by_name = {design.name: design for design in wanted}
        monkeypatch.setattr("django_distsession.backends.couchdb.bundled_designs", lambda: by_name)
        runtimes.pop(sessions, None)

    return use


@pytest.fixture
def bundled() -> tuple[Design, ...]:
    return tuple(designs.bundled_designs().values())


def migrate(*arguments: str, **options: Any) -> None:
    call_command("migratedesigndocs", *arguments, **options)
