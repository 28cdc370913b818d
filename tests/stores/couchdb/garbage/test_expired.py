"""
Reading what expired: from an index that is brought up to date once, ahead of what is done with it,
and shared with other hosts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_distsession.backends.couchdb import SessionStore
from django_distsession.stores.couchdb.client import Client
from django_distsession.stores.couchdb.garbage.expired import MOST_PARTS, parts, read_ahead
from django_distsession.stores.couchdb.garbage.removal import Removal
from django_distsession.stores.garbage import GCOptions, GCResult
from tests.stores.couchdb.conftest import Database, add_expired, contents, stored
from tests.stores.couchdb.fake import FakeServer, Request, reply

Engine = type[SessionStore]


def spread(database: Database, count: int) -> list[str]:
    """
    Store sessions of which each expired at another time, three at each.
    """
    ids = add_expired(database, count)
    for number, doc_id in enumerate(ids):
        database.put({**database.get(doc_id), "expires_at": 1000 + 10 * (number // 3)})
    return ids


class EdgesOnly:
    """
    An index of which only the first and the last key are asked.
    """

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last = first, last

    def view(self, view: str, *, descending: bool = False, **query: Any) -> list[dict[str, Any]]:
        assert query["limit"] == 1
        return [{"id": "a", "key": self._last if descending else self._first}]


class TestParts:
    @given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**7), st.integers(1, 99))
    def test_they_cover_everything_once(
        self, first: int, span: int, count: int, batch_size: int
    ) -> None:
        before = first + span + 1
        index: Any = EdgesOnly(first, first + span)
        queries = parts(index, before, count, batch_size, lambda queries: queries.reverse())
        assert len(queries) <= MOST_PARTS
        ranges = sorted((query["startkey"], query["endkey"]) for query in queries)
        assert (ranges[0][0], ranges[-1][1]) == (0, before)
        assert all(a[1] == b[0] for a, b in pairwise(ranges))
        assert all(
            start < end and not query["inclusive_end"] for start, end in ranges for query in queries
        )

    def test_their_order_is_handed_in(self) -> None:
        index: Any = EdgesOnly(100, 900)
        one = parts(index, 1000, 100, 1, lambda queries: None)
        other = parts(index, 1000, 100, 1, lambda queries: queries.reverse())
        assert len(one) > 2
        assert one == other[::-1]

    def test_what_others_removed_meanwhile_is_not_divided(self) -> None:
        index: Any = Mock()
        index.view.return_value = []
        assert len(parts(index, 1000, 100, 1, lambda queries: None)) == 1

    def test_a_little_is_not_divided(self) -> None:
        index: Any = None
        assert len(parts(index, 1000, 7, 1, lambda queries: None)) == 1


def test_no_row_is_handed_out_twice_and_none_is_left_out(
    sessions: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(sessions)
    ids = spread(database, 40)
    handed: list[str] = []
    monkeypatch.setattr(Removal, "remove", lambda self, batch: handed.extend(batch))
    sessions.clear_expired(GCOptions(batch_size=2))
    assert sorted(handed) == sorted(ids)


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """
    What each query of a view said of bringing its index up to date.
    """
    said: list[str] = []
    read_view = Client._read_view

    def noted(self: Client, *args: Any) -> Any:
        said.append(args[-1]["update"])
        return read_view(self, *args)

    monkeypatch.setattr(Client, "_read_view", noted)
    return said


def test_the_index_is_brought_up_to_date_once(
    sessions: Engine, database: Database, updates: list[str]
) -> None:
    stored(sessions)
    spread(database, 40)
    assert sessions.clear_expired(GCOptions(batch_size=2)).seen == 40
    assert updates[0] == "true"
    assert len(updates) > 20
    assert set(updates[1:]) == {"false"}


def conflicted(database: Database, count: int) -> None:
    for doc_id in add_expired(database, count):
        database.branch(database.get(doc_id), None, "1-" + "0" * 32)


def test_once_more_where_documents_with_conflicts_went(
    sessions: Engine, database: Database, updates: list[str]
) -> None:
    stored(sessions)
    conflicted(database, 2)
    cleared = sessions.clear_expired()
    assert (cleared.seen, cleared.purged + cleared.deleted) == (2, 2)
    # The count, those with conflicts, and the rest; what is not one of ours comes last.
    assert updates == ["true", "false", "true", "false", "false"]


def test_those_with_conflicts_count_towards_the_limit(sessions: Engine, database: Database) -> None:
    stored(sessions)
    conflicted(database, 3)
    assert sessions.clear_expired(GCOptions(limit=2)).seen == 2
    assert database.counts()[0] == 2


def test_the_next_page_is_read_while_one_is_purged(faked: Engine, fake: FakeServer) -> None:
    last_page = threading.Event()
    rows = [{"id": f"{n:064x}", "key": n, "value": [["1-a"], []]} for n in range(8)]

    def answer(connection: Any, request: Request) -> bool:
        target = request.target
        if target.endswith("_purge"):
            # The first shows that the server can do it.
            is_first = f"{0:064x}" in request.body
            answered = is_first or last_page.wait(10)
            return reply(201 if answered else 500, {"purged": request.body})(connection, request)
        if "by_expiry" not in target or "startkey=%22%22" in target:
            return reply(200, {"rows": []})(connection, request)
        if "reduce=" not in target:
            return reply(200, {"rows": [{"key": None, "value": 8}]})(connection, request)
        first = next((n + 1 for n in range(8) if f"startkey_docid={n:064x}" in target), 0)
        if first == 6:
            last_page.set()
        return reply(200, {"rows": rows[first : first + 3]})(connection, request)

    fake.default = answer
    assert faked.clear_expired(GCOptions(batch_size=3)).purged == 8


def test_who_meets_another_host_leaves_it_alone(
    sessions: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(sessions)
    spread(database, 60)
    others: list[GCResult] = []

    def let_another_host_do_it_all(done: GCResult) -> None:
        if not others:
            others.append(GCResult())
            others[0] = sessions.clear_expired(GCOptions(batch_size=2))

    mine = sessions.clear_expired(GCOptions(batch_size=2, progress=let_another_host_do_it_all))
    removed = [one.purged + one.deleted for one in (mine, *others)]
    assert sum(removed) == 60
    # Of all that the index still showed, no more was tried than what had been read by then.
    assert mine.seen <= 3 * 2
    assert database.counts()[0] == 1


def test_the_limit_holds_where_another_host_was_met(
    sessions: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(sessions)
    spread(database, 60)
    remove, met = Removal.remove, [True]

    def remove_or_skip(self: Removal, batch: Any) -> None:
        if met:
            met.pop()
            self._cleared.skipped += len(batch)
        else:
            remove(self, batch)

    monkeypatch.setattr(Removal, "remove", remove_or_skip)
    assert sessions.clear_expired(GCOptions(batch_size=2, limit=30)).seen == 30
    assert database.counts()[0] == 61 - 28


def test_killed_at_any_request_the_next_run_brings_the_same_end(
    sessions: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = stored(sessions, a=1)
    request = Client.request
    kills = iter(range(3, 10**6, 3))
    is_over = False
    while not is_over:
        calls, last = iter(range(10**6)), next(kills)
        spread(database, 12)

        def killed(
            self: Client, *args: Any, calls: Any = calls, last: int = last, **kw: Any
        ) -> Any:
            if next(calls) == last:
                raise KeyboardInterrupt
            return request(self, *args, **kw)

        with monkeypatch.context() as patch:
            patch.setattr(Client, "request", killed)
            try:
                sessions.clear_expired(GCOptions(batch_size=3))
                is_over = True
            except KeyboardInterrupt:
                pass
        assert not [one for one in threading.enumerate() if "distsession-reader" in one.name]
        sessions.clear_expired(GCOptions(batch_size=3))
        assert database.counts()[0] == 1
    assert contents(sessions, live) == {"a": 1}


class TestReadAhead:
    @pytest.fixture
    def reader(self) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(1) as reader:
            yield reader

    def test_an_error_of_the_reader_arrives(self, reader: ThreadPoolExecutor) -> None:
        def pages() -> Iterator[int]:
            yield 1
            raise OSError("away")

        items = read_ahead(pages(), reader, lambda: True)
        assert next(items) == 1
        with pytest.raises(OSError, match="away"):
            next(items)

    @pytest.mark.parametrize(("may_read", "ahead"), [(True, [0, 1]), (False, [0])])
    def test_no_more_than_one_is_read_ahead(
        self, reader: ThreadPoolExecutor, may_read: bool, ahead: list[int]
    ) -> None:
        read: list[int] = []

        def pages() -> Iterator[int]:
            for number in range(9):
                read.append(number)
                yield number

        items = read_ahead(pages(), reader, lambda: may_read)
        next(items)
        reader.shutdown()
        assert read == ahead
