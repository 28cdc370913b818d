"""
Real servers killed, hung and restarted under load: what users were told stays true.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from django_distsession.backends.hybrid import SessionStore
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.abilities import parts_of
from django_distsession.stores.couchdb import CouchDBStore
from django_distsession.stores.memcached import MemcachedStore
from testproject.servers import CouchDBServer, MemcachedNode, memcached_nodes
from testproject.servers.apache_couchdb import ApacheCouchDB
from testproject.servers.couchdb import couchdb_server
from testproject.servers.pouchdb import PouchDBServer
from tests.driving import Driver
from tests.stores.hybrid.load import PATIENCE, Load, Process

REVALIDATE_AFTER = 0.5
# Longer than any test takes.
NEVER = 300


@pytest.fixture(scope="module")
def own_couchdb() -> Iterator[CouchDBServer]:
    # One that somebody else runs is not ours to break.
    usual = couchdb_server()
    server = usual if isinstance(usual, ApacheCouchDB) else PouchDBServer()
    with server:
        yield server


@pytest.fixture(scope="module")
def own_nodes() -> Iterator[list[MemcachedNode]]:
    with memcached_nodes(3) as running:
        yield running


@pytest.fixture(params=["couchdb", "either"])
def writes(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def revalidate_after() -> float:
    return REVALIDATE_AFTER


@pytest.fixture
def processes(
    settings: Any,
    own_couchdb: CouchDBServer,
    own_nodes: list[MemcachedNode],
    writes: str,
    revalidate_after: float,
) -> list[Process]:
    settings.SESSION_ENGINE = "django_distsession.backends.hybrid"
    settings.DISTSESSION = {
        "NAMESPACE": f"t{uuid.uuid4().hex}",
        "MEMCACHED": {
            "SERVERS": [node.address for node in own_nodes],
            "RETRY_AFTER": 0.05,
            # What a busy machine is late by is no fault.
            "TIMEOUT": 0.5,
            "CONNECT_TIMEOUT": 0.5,
        },
        "COUCHDB": {"URL": own_couchdb.url, "DATABASE": f"t{uuid.uuid4().hex}", "TIMEOUT": 1.0},
        "HYBRID": {"REVALIDATE_AFTER": revalidate_after, "WRITES": writes},
    }

    class One(SessionStore):
        pass

    class Another(SessionStore):
        pass

    return [One, Another]


def until(is_so: Callable[[], bool], meanwhile: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "a server is not noticed"
        with suppress(StoreUnavailable):
            meanwhile()


def is_up(store: CouchDBStore) -> bool:
    return all(node["up"] for node in store.status())


def wait_for_couchdb(processes: list[Process]) -> None:
    """
    Return when every process has noticed that CouchDB is back.
    """
    for process in processes:
        store = process.get_store()
        couchdb = next(part for part in parts_of(store) if isinstance(part, CouchDBStore))
        until(partial(is_up, couchdb), partial(store.get, "0" * 64))


def wait_for_memcached(processes: list[Process], load: Load) -> None:
    """
    Return when every process has noticed that memcached is back, and no copy is old any more.
    """
    for process in processes:
        cache = memcached_of(process)
        for node in cache.nodes:
            until(node.is_up, partial(cache.inspect, "0" * 64))
    over = time.monotonic() + REVALIDATE_AFTER
    while time.monotonic() <= over:
        load.go_on(1)
    load.look_at_all()


def memcached_of(process: Process) -> MemcachedStore:
    return next(part for part in parts_of(process.get_store()) if isinstance(part, MemcachedStore))


def sync(processes: list[Process], load: Load) -> None:
    """
    Return when memcached has taken nothing alone that CouchDB was not told of.
    """

    def taken() -> list[int]:
        return [server["taken_unsynced"] for one in processes for server in one.status()[:1]]

    before: list[int] = []
    while before != taken():
        wait_for_couchdb(processes)
        before = taken()
        load.sync()


@pytest.mark.parametrize("fault", ["killed", "paused", "restarted"])
def test_couchdb_fails_under_load(
    own_couchdb: CouchDBServer, processes: list[Process], drive: Driver, writes: str, fault: str
) -> None:
    load = Load(processes, drive)
    with load.running():
        load.go_on()
        if fault == "killed":
            own_couchdb.kill()
            load.go_on()
            own_couchdb.start()
        elif fault == "paused":
            own_couchdb.pause()
            load.go_on()
            own_couchdb.resume()
        else:
            own_couchdb.restart()
        wait_for_couchdb(processes)
        load.go_on()
    if writes == "either":
        assert not load.refused_writes
    elif fault != "restarted":
        assert load.refused_writes
    load.check()
    load.sync()
    assert_couchdb_has_it_all(load, processes)


def assert_couchdb_has_it_all(load: Load, processes: list[Process]) -> None:
    for process in processes:
        for node in memcached_of(process).nodes:
            setattr(node.breaker, "_ensure_watched", lambda: None)  # noqa: B010
            node.failed(TimeoutError("left out by the test"))
    load.check()


@pytest.mark.parametrize("revalidate_after", [NEVER])
def test_all_of_memcached_is_killed_under_load_and_restarts_empty(
    own_nodes: list[MemcachedNode], processes: list[Process], drive: Driver
) -> None:
    load = Load(processes, drive)
    with load.running():
        load.go_on()
        for node in own_nodes:
            node.kill()
        load.go_on()
        for node in own_nodes:
            node.start()
        load.go_on()
    assert not load.refused_writes
    load.check()
    assert_couchdb_has_it_all(load, processes)


@pytest.mark.parametrize("revalidate_after", [NEVER])
def test_all_of_memcached_hangs_under_load_and_goes_on_with_old_copies(
    own_nodes: list[MemcachedNode], processes: list[Process], drive: Driver
) -> None:
    load = Load(processes, drive)
    with load.running():
        load.go_on()
        for node in own_nodes:
            node.pause()
        load.go_on()
        for node in own_nodes:
            node.resume()
        load.go_on()
    assert not load.refused_writes
    load.check()
    assert_couchdb_has_it_all(load, processes)


def test_couchdb_and_then_memcached_fail_under_load(
    own_couchdb: CouchDBServer,
    own_nodes: list[MemcachedNode],
    processes: list[Process],
    drive: Driver,
    writes: str,
) -> None:
    load = Load(processes, drive, stale_after=REVALIDATE_AFTER)
    with load.running():
        load.go_on()
        own_couchdb.kill()
        load.go_on()
        own_couchdb.start()
        # What memcached took alone has to be repaired before memcached may fail.
        sync(processes, load)
        for node in own_nodes:
            node.kill()
        load.go_on()
        for node in own_nodes:
            node.start()
        # And what memcached missed, before CouchDB may fail again.
        wait_for_memcached(processes, load)
        own_couchdb.kill()
        load.go_on()
        own_couchdb.start()
        wait_for_couchdb(processes)
        load.go_on()
    if writes == "either":
        taken = [server for one in processes for server in one.status() if "synced" in server]
        assert sum(server["taken_unsynced"] for server in taken)
        assert sum(server["synced"] for server in taken)
    load.check()
    load.sync()
    assert_couchdb_has_it_all(load, processes)
