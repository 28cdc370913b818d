"""
The design document for statistics.
"""

from __future__ import annotations

from django_distsession.backends.couchdb import SessionStore
from django_distsession.stores.couchdb.client import Client
from tests.stores.couchdb.designs.conftest import Database, migrate


def test_sessions_are_counted_per_day(
    client: Client, database: Database, sessions: type[SessionStore]
) -> None:
    migrate(verbosity=0)
    database.fill(3)
    late = {**database.get(f"{0:064x}"), "_id": "f" * 64, "created_at": 86_399}
    next_day = {**late, "_id": "e" * 64, "created_at": 86_400}
    for document in (late, next_day):
        del document["_rev"]
        database.put(document)
    rows = client.view("distsession_statistics", "created_per_day", group=True)
    assert {row["key"]: row["value"] for row in rows} == {"1970-01-01": 4, "1970-01-02": 1}
    # Nobody who does not ask for it pays for it.
    assert database.designs()["distsession_statistics"]["autoupdate"] is False
