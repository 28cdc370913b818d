"""
Sessions as plain documents: the examples of the documentation, tried.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY as USER_KEY

from django_distsession.backends.couchdb import SessionStore
from tests.stores.couchdb.conftest import Database, storage_id, stored

Engine = type[SessionStore]


@pytest.fixture
def plain(sessions: Engine, configure: Callable[..., None]) -> Engine:
    configure(CODEC="django_distsession.codecs.JSONCodec")
    return sessions


@pytest.fixture
def shop(plain: Engine, database: Database) -> dict[str, str]:
    """
    Two sessions of user 7, one of user 8, one of nobody; one that expired, one that ended.
    """
    keys = {
        "tea": stored(plain, **{USER_KEY: "7"}, cart={"tea": 2}, theme="dark"),
        "milk": stored(plain, **{USER_KEY: "7"}, cart={"milk": 1}),
        "none": stored(plain, **{USER_KEY: "8"}, theme="dark"),
        "nobody": stored(plain, theme="light"),
        "expired": stored(plain, **{USER_KEY: "9"}),
        "ended": stored(plain, **{USER_KEY: "7"}, cart={"tea": 1}),
    }
    session = plain(keys["expired"])
    session.set_expiry(-60)
    session.save()
    plain(keys["ended"]).flush()
    # The design documents are made when first needed.
    plain.for_user(7)
    return keys


def view(database: Database, path: str, **query: Any) -> list[dict[str, Any]]:
    encoded = {name: json.dumps(value) for name, value in query.items()}
    reply = database.http.get(path, params=encoded)
    assert reply.status_code == 200, reply.text
    return list(reply.json()["rows"])


def test_a_document_holds_the_session_itself(
    plain: Engine, database: Database, shop: dict[str, str]
) -> None:
    document = database.get(storage_id(plain, shop["tea"]))
    assert document["data"] == {USER_KEY: "7", "cart": {"tea": 2}, "theme": "dark"}
    assert (document["type"], document["user"], document["ended"]) == ("session", "7", False)
    assert document["created_at"] <= document["updated_at"] <= time.time()
    assert document["expires_at"] > time.time()
    ended = database.get(storage_id(plain, shop["ended"]))
    assert (ended["data"], ended["user"], ended["ended"]) == (None, None, True)


def test_active_now(database: Database, shop: dict[str, str]) -> None:
    now = int(time.time())
    selector = {"type": "session", "ended": False, "expires_at": {"$gt": now}}
    reply = database.http.post("_find", json={"selector": selector, "fields": ["_id"]})
    assert len(reply.json()["docs"]) == 4
    # By the index that is there anyway; what ended or was shortened counts until it is collected.
    [row] = view(database, "_design/distsession_expiry/_view/by_expiry", startkey=now)
    assert row["value"] == 6


def test_sessions_per_user(database: Database, shop: dict[str, str]) -> None:
    rows = view(database, "_design/distsession_users/_view/by_user", group_level=1, reduce=True)
    assert {row["key"][0]: row["value"] for row in rows} == {"7": 2, "8": 1, "9": 1}


def test_created_per_day(database: Database, shop: dict[str, str]) -> None:
    created = """function (doc) {
      if (doc.type === "session") {
        emit(new Date(doc.created_at * 1000).toISOString().slice(0, 10));
      }
    }"""
    views = {"created_per_day": {"map": created, "reduce": "_count"}}
    database.put({"_id": "_design/mining", "language": "javascript", "views": views})
    rows = view(database, "_design/mining/_view/created_per_day", group=True)
    documents = view(database, "_all_docs", include_docs=True)
    days = Counter(
        time.strftime("%Y-%m-%d", time.gmtime(row["doc"]["created_at"]))
        for row in documents
        if not row["id"].startswith("_design/")
    )
    assert {row["key"]: row["value"] for row in rows} == dict(days)


def test_what_is_in_the_carts(database: Database, shop: dict[str, str]) -> None:
    selector = {"type": "session", "data.cart.tea": {"$gt": 1}}
    reply = database.http.post("_find", json={"selector": selector})
    assert [one["data"]["cart"] for one in reply.json()["docs"]] == [{"tea": 2}]
    reply = database.http.post("_find", json={"selector": {"data.theme": "dark"}})
    assert {one["user"] for one in reply.json()["docs"]} == {"7", "8"}
