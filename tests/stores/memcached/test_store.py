"""
A save that one replica takes and the other refuses, because somebody else was there in between.
"""

from __future__ import annotations

from typing import Any

import pytest

from django_distsession.backends.memcached import SessionStore
from django_distsession.stamps import HISTORY
from tests.conftest import stored
from tests.stores.memcached.cluster import Cluster, FakeServer
from tests.stores.memcached.conftest import contents, store_of
from tests.stores.memcached.fights import fight, undone
from tests.stores.memcached.workers import workers

FIRST, SECOND = "127.0.0.1:1", "127.0.0.1:2"


class Other(SessionStore):
    """
    Another web process's.
    """


@pytest.fixture
def cluster(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    settings.SESSION_ENGINE = "django_distsession.backends.memcached"
    settings.DISTSESSION = {"NAMESPACE": "t", "MEMCACHED": {"SERVERS": [FIRST, SECOND]}}
    cluster = Cluster({name: FakeServer(name) for name in (FIRST, SECOND)})
    cluster.replace_exchanges(monkeypatch)
    for number, process in enumerate((SessionStore, Other)):
        for node in store_of(process).nodes:
            cluster.owners[node] = number
    return cluster


def loaded(key: str) -> SessionStore:
    session = SessionStore(key)
    assert session["value"] == "loaded"
    return session


@pytest.mark.parametrize("others", [1, HISTORY - 1, HISTORY + 3])
def test_a_save_that_was_seen_on_one_replica_does_not_undo_what_followed(
    cluster: Cluster, others: int
) -> None:
    key = stored(SessionStore, value="loaded")
    session = loaded(key)
    session["value"] = "mine"
    seen: list[str] = []

    def overwrite() -> None:
        for number in range(others):
            other = Other(key)
            seen.append(other["value"])
            other["value"] = f"theirs {number}"
            other.save()

    cluster.interruption = overwrite
    session.save()
    assert seen[0] == "mine"
    assert contents(SessionStore, key) == {"value": f"theirs {others - 1}"}
    assert session["value"] == f"theirs {others - 1}"


@pytest.mark.parametrize("others", [1, 2, HISTORY + 3])
def test_a_save_that_nobody_saw_is_the_last(cluster: Cluster, others: int) -> None:
    key = stored(SessionStore, value="loaded")
    session = loaded(key)
    session["value"] = "mine"
    # The other process takes this server for down, and the save finds there what it had loaded.
    cluster.passed_by.add((1, SECOND))
    for number in range(others):
        other = Other(key)
        other["value"] = f"theirs {number}"
        other.save()
    session.save()
    assert contents(SessionStore, key) == {"value": "mine"}


def test_a_server_that_restarted_has_not_taken_the_save(cluster: Cluster) -> None:
    key = stored(SessionStore, value="loaded")
    # Many writes, so that its cas tokens are high.
    for number in range(10):
        session = SessionStore(key)
        session["count"] = number
        session.save()
    session = loaded(key)
    session["value"] = "mine"

    def fail_over() -> None:
        # It took the save, and nobody saw it there.
        cluster.servers[FIRST].die()
        cluster.servers[FIRST].condition = "up"
        for number in range(HISTORY + 1):
            other = Other(key)
            other["value"] = f"theirs {number}"
            other.save()

    cluster.interruption = fail_over
    session.save()
    assert contents(SessionStore, key)["value"] == "mine"


def test_processes_that_fight_for_a_value_undo_nothing(nodes: list[Any]) -> None:
    with workers(4, nodes, 2, 1) as processes:
        assert undone(fight(processes, 60)) == []
        assert [process.failed for process in processes] == [[]] * 4
