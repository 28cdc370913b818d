"""
The CouchDB engine on the real server, on a fake one, and what the database says by itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from django_distsession.backends.couchdb import SessionStore
from testproject.servers import CouchDBServer
from tests.conftest import engine_class
from tests.stores.couchdb.fake import FakeServer


class Database:
    """
    The database of one test, seen from outside.
    """

    def __init__(self, url: str, name: str) -> None:
        self.http = httpx.Client(base_url=f"{url}/{name}/", timeout=60)
        self.server = httpx.Client(base_url=url, timeout=60)
        self.name = name

    def get(self, doc_id: str, **query: str) -> Any:
        return self.http.get(doc_id, params=query).json()

    def put(self, document: dict[str, Any]) -> str:
        # A colon would look like the end of a scheme.
        reply = self.http.put(quote(document["_id"]), json=document)
        assert reply.status_code in (201, 202), reply.text
        return str(reply.json()["rev"])

    def put_all(self, documents: list[dict[str, Any]], **options: Any) -> None:
        reply = self.http.post("_bulk_docs", json={"docs": documents, **options})
        assert reply.status_code == 201, reply.text

    def branch(self, document: dict[str, Any], parent: str | None, rev: str) -> str:
        """
        Add a revision beside those that are there, as replication does.
        """
        start, digest = rev.split("-")
        path = [digest] if parent is None else [digest, parent.partition("-")[2]]
        document = {
            **document,
            "_rev": rev,
            "_revisions": {"start": int(start), "ids": path},
        }
        document.pop("_conflicts", None)
        reply = self.http.post("_bulk_docs", json={"new_edits": False, "docs": [document]})
        assert reply.status_code == 201, reply.text
        return rev

    def conflicts(self, doc_id: str) -> list[str]:
        return list(self.get(doc_id, conflicts="true").get("_conflicts", []))

    def counts(self) -> tuple[int, int]:
        """
        How many sessions there are, and how many deletion stubs; 0 where the server does not tell.
        """
        info = self.http.get("").json()
        rows = self.http.get("_all_docs").json()["rows"]
        live = sum(not row["id"].startswith("_design/") for row in rows)
        return live, info.get("doc_del_count", 0)

    @property
    def can_purge(self) -> bool:
        return self.http.post("_purge", json={}).status_code in (200, 201, 202)

    @property
    def tells_conditions(self) -> bool:
        """
        Whether a document's ETag is its revision.
        """
        rev = self.put({"_id": f"probe-{uuid.uuid4().hex}"})
        rows = self.http.get("_all_docs", params={"startkey": '"probe-"'}).json()["rows"]
        doc_id = next(row["id"] for row in rows if row["value"]["rev"] == rev)
        status = self.http.get(doc_id, headers={"If-None-Match": f'"{rev}"'}).status_code
        self.http.delete(doc_id, params={"rev": rev})
        return status == 304

    def close(self) -> None:
        self.http.close()
        self.server.close()


@pytest.fixture
def sessions(settings: Any, distsession: dict[str, Any]) -> type[SessionStore]:
    """
    The CouchDB engine.
    """
    return engine_class(settings, "couchdb")  # type: ignore[return-value]


@pytest.fixture
def database(couchdb: CouchDBServer, distsession: dict[str, Any]) -> Iterator[Database]:
    opened = Database(couchdb.url, distsession["COUCHDB"]["DATABASE"])
    yield opened
    opened.close()


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def faked(
    sessions: type[SessionStore], fake: FakeServer, configure: Callable[..., None]
) -> type[SessionStore]:
    """
    The CouchDB engine on the fake server.
    """
    # More than a busy machine takes to answer. Tests of servers that hang ask for less.
    configure(COUCHDB={"URL": fake.url, "TIMEOUT": 10.0})
    return sessions


@pytest.fixture
def impatient(faked: type[SessionStore], configure: Callable[..., None]) -> None:
    """
    Have the engine on the fake server wait for half a second only.
    """
    configure(COUCHDB={"TIMEOUT": 0.5})


def stored(sessions: type[SessionStore], **values: Any) -> str:
    session = sessions()
    session.update(values)
    session.save()
    assert session.session_key is not None
    return session.session_key


def contents(sessions: type[SessionStore], key: str) -> dict[str, Any]:
    return dict(sessions(key).items())


def storage_id(sessions: type[SessionStore], key: str) -> str:
    found = sessions.storage_id(key)
    assert found is not None
    return found


def add_expired(database: Database, number: int, *, ended: bool = False) -> list[str]:
    """
    Put documents that expired long ago.
    """
    ids = [f"{n:064x}" for n in range(number)]
    documents = [
        {
            "_id": doc_id,
            "type": "session",
            "version": [1, "tag"],
            "data": None,
            "user": None,
            "created_at": 1,
            "updated_at": 1,
            "expires_at": 1000 + n,
            "ended": ended,
        }
        for n, doc_id in enumerate(ids)
    ]
    for start in range(0, number, 1000):
        body = {"docs": documents[start : start + 1000]}
        assert database.http.post("_bulk_docs", json=body).status_code == 201
    return ids
