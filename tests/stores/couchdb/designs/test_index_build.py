"""
Waiting for an index, told by a server that says whatever the test wants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_distsession.exceptions import StoreMisconfigured, StoreUnavailable
from django_distsession.stores.couchdb.client import RequestRefused
from django_distsession.stores.couchdb.designs.index_build import NEARLY, IndexBuild

Answer = dict[str, Any] | list[dict[str, Any]] | Exception


class Told:
    """
    A client: each answer is given once, the last one for ever. asked: the queries.
    """

    name = "sessions"

    def __init__(self, infos: list[Answer], tasks: list[Answer] | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self._infos = self._given(infos)
        self._tasks = self._given(tasks or [StoreMisconfigured("not an admin")])

    @staticmethod
    def _given(answers: list[Answer]) -> Iterator[Answer]:
        yield from answers
        while True:
            yield answers[-1]

    @staticmethod
    def _give(answer: Answer) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    def view(self, design: str, view: str, **query: Any) -> list[Any]:
        self.asked.append(query)
        return []

    def view_info(self, design: str) -> Any:
        return self._give(next(self._infos))

    def active_tasks(self) -> Any:
        return self._give(next(self._tasks))


def info(pending: int, *, running: bool = True) -> Answer:
    told = {"minimum": pending, "preferred": pending, "total": pending}
    return {"view_index": {"updates_pending": told, "updater_running": running}}


def task(shard: str, done: int, total: int, **changed: Any) -> dict[str, Any]:
    return {
        "type": "indexer",
        "node": "a@b",
        "database": f"shards/{shard}/sessions.1795263516",
        "design_document": "_design/staged",
        "changes_done": done,
        "total_changes": total,
        **changed,
    }


Build = Callable[..., list[tuple[int, int]]]


@pytest.fixture
def build() -> Build:
    def run(client: Told, patience: float = 60) -> list[tuple[int, int]]:
        told: list[tuple[int, int]] = []
        IndexBuild(
            client,  # type: ignore[arg-type]
            "staged",
            "v",
            lambda done, total: told.append((done, total)),
            interval=0,
            patience=patience,
        ).run()
        return told

    return run


def test_progress_is_that_of_the_tasks_on_all_shards(build: Build) -> None:
    others = [
        task("0-7", 1, 2, database="shards/0-7/other.17"),
        task("0-7", 1, 2, database="shards/0-7/sessions.more.17"),
        task("0-7", 1, 2, design_document="_design/other"),
        {"type": "database_compaction", "database": "shards/0-7/sessions.1795263516"},
    ]
    tasks: list[Answer] = [
        [task("0-7", 1000, 5000), task("8-f", 2000, 6000), *others],
        [task("8-f", 4000, 6000)],
        [],
    ]
    client = Told([info(8000), info(2000), info(0)], tasks)
    # A shard that is no longer there is done.
    assert build(client) == [(3000, 11000), (9000, 11000), (11000, 11000)]


def test_who_may_not_see_tasks_sees_what_is_pending(build: Build) -> None:
    client = Told([info(8000), info(2000), info(0)])
    assert build(client) == [(0, 8000), (6000, 8000), (8000, 8000)]


def test_the_last_few_documents_are_waited_for(build: Build) -> None:
    client = Told([info(NEARLY + 1), info(NEARLY)])
    build(client)
    lazy = {"limit": 1, "reduce": False, "update": "lazy"}
    assert client.asked == [lazy, {"limit": 1, "reduce": False}]


@pytest.mark.parametrize(
    "answer", [RequestRefused("?"), {}, {"view_index": "?"}, {"view_index": {}}]
)
def test_a_server_that_tells_nothing_is_asked_for_a_row(build: Build, answer: Answer) -> None:
    client = Told([answer])
    assert build(client) == []
    assert len(client.asked) == 2


def test_an_indexer_that_stopped_is_asked_again(build: Build) -> None:
    client = Told([info(5000), info(4000, running=False), info(3000), info(0)])
    build(client)
    assert [query.get("update") for query in client.asked] == ["lazy", "lazy", None]


def test_a_server_that_is_too_busy_to_answer_is_asked_again(build: Build) -> None:
    client = Told([info(5000), StoreUnavailable("TimeoutError"), info(0)])
    build(client)
    assert client.asked[-1] == {"limit": 1, "reduce": False}


def test_an_index_that_does_not_advance_is_given_up(build: Build) -> None:
    client = Told([info(5000)])
    with pytest.raises(StoreUnavailable, match="has not advanced for 0 seconds"):
        build(client, patience=0.0)


def test_a_server_that_is_gone_is_given_up(build: Build) -> None:
    gone = StoreUnavailable("ConnectionRefusedError")
    with pytest.raises(StoreUnavailable, match="has not advanced") as error:
        build(Told([gone]), patience=0.0)
    assert error.value.__cause__ is gone


def test_a_missing_right_is_told_at_once(build: Build) -> None:
    with pytest.raises(StoreMisconfigured, match="refused"):
        build(Told([StoreMisconfigured("refused")]))
