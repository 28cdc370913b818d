"""
Reading views: a page at a time, past ids of any length, and whatever somebody answers.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY as USER_KEY

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.couchdb import users
from django_distsession.stores.couchdb.client.paging import LONGEST_NAMED, pages
from django_distsession.stores.garbage import GCOptions
from tests.stores.couchdb.conftest import Database, add_expired, storage_id, stored
from tests.stores.couchdb.fake import FakeServer, reply
from tests.stores.couchdb.test_damaged import add_branches, foreign

Engine = type[SessionStore]
Row = dict[str, Any]

LONG = "f" * 20_000


class View:
    """
    A view in memory, in which the id is the key.
    """

    def __init__(self, ids: list[str]) -> None:
        self.ids = sorted(ids)
        self.asked = 0

    def read(self, *, limit: int, skip: int, **query: str) -> list[Row]:
        self.asked += 1
        named = [query.get(name, "") for name in ("startkey", "startkey_docid")]
        assert max(map(len, named)) <= LONGEST_NAMED + 1
        rows = [doc_id for doc_id in self.ids if [doc_id, doc_id] >= named]
        return [{"id": doc_id, "key": doc_id} for doc_id in rows[skip : skip + limit]]


class TestPages:
    IDS = [f"{n:03}" for n in range(40)] + [f"{n:03}" + LONG for n in range(10, 31)]

    @pytest.mark.parametrize("size", [1, 2, 7, 30, 61, 100])
    @pytest.mark.parametrize("removing", [True, False])
    def test_show_each_row_once(self, size: int, removing: bool) -> None:
        view = View(self.IDS)
        shown = []
        for page in pages(view.read, lambda: size):
            assert len(page) <= size
            for row in page:
                shown.append(row["id"])
                if removing:
                    view.ids.remove(row["id"])
        assert shown == sorted(self.IDS)

    def test_end_with_one_that_is_not_full(self) -> None:
        view = View(["a", "b", "c"])
        assert len(list(pages(view.read, lambda: 2))) == 2
        assert view.asked == 2


class TestIdsLongerThanAURL:
    def test_keep_no_other_from_being_collected(self, sessions: Engine, database: Database) -> None:
        key = stored(sessions, a=1)
        database.put_all([foreign(_id=LONG, expires_at=500)])
        add_expired(database, 3)
        database.put_all([foreign(_id=f"{n}{LONG}", expires_at=1001) for n in range(3)])
        cleared = sessions.clear_expired(GCOptions(batch_size=1))
        assert (cleared.seen, cleared.purged + cleared.deleted) == (7, 7)
        assert sessions().exists(key)

    def test_keep_no_session_from_being_found(
        self, sessions: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(users, "PAGE", 1)
        key = stored(sessions, **{USER_KEY: "7"})
        add_branches(database, storage_id(sessions, key), 1)
        document = foreign(_id=f"0{LONG}", expires_at=2**40)
        for rev in "ab":
            branch = {**document, "_rev": f"1-{rev}", "_revisions": {"start": 1, "ids": [rev]}}
            database.put_all([branch], new_edits=False)
        assert [one.storage_id for one in sessions.for_user(7)] == [storage_id(sessions, key)]
        assert sessions.clear_expired().merged == 1


ODD_ROWS: list[Any] = [
    {},
    None,
    {"id": 5, "key": 1, "value": "x"},
    {"id": None, "key": 1, "value": "x"},
    {"key": 1, "value": "x"},
    {"id": "a", "value": []},
    {"id": "a", "key": 1},
]


@pytest.mark.parametrize("row", ODD_ROWS, ids=str)
def test_rows_that_are_none_are_an_outage(faked: Engine, fake: FakeServer, row: Any) -> None:
    fake.default = reply(200, {"rows": [row]})
    for ask in (
        lambda: faked.for_user(1),
        faked.clear_expired,
        lambda: faked.clear_expired(GCOptions(dry_run=True)),
    ):
        with pytest.raises(StoreUnavailable, match=r"gives no usable answer|broke off"):
            ask()


def test_design_documents_that_were_removed_meanwhile_are_none(
    faked: Engine, fake: FakeServer
) -> None:
    client = faked.get_store()._client  # type: ignore[attr-defined]
    kept = {"_id": "_design/b", "_rev": "1-a"}
    rows = [{"id": f"_design/{name}", "key": name, "value": {}} for name in "ab"]
    fake.default = reply(200, {"rows": [{**rows[0], "doc": None}, {**rows[1], "doc": kept}]})
    assert client.design_documents() == [kept]
    fake.default = reply(200, {"rows": [{**rows[0], "doc": kept}]})
    with pytest.raises(StoreUnavailable, match="gives no usable answer"):
        client.design_documents()


@pytest.mark.parametrize("status", [414, 431])
def test_a_document_that_cannot_be_named_stops_no_garbage_collection(
    faked: Engine, fake: FakeServer, status: int
) -> None:
    row = {"id": "a", "key": "a", "value": []}
    none = reply(200, {"rows": []})
    fake.script = [none, reply(200, {"rows": [row]}), reply(status, b"")]
    fake.default = reply(200, {"rows": []})
    assert faked.clear_expired().passed_over == 1
