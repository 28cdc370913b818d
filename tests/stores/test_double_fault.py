"""
A server fails and comes back, every session is read by the one process that knows of it, and the
next server fails while all other processes still believe the first one down. Nobody is to notice.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.double_fault.scenario import Scenario
from benchmarks.double_fault.sites import CASES, COUCHDB_KINDS, site
from testproject.servers import CouchDBServer, MemcachedNode, couchdb_server, memcached_nodes
from testproject.servers.apache_couchdb import ApacheCouchDB
from testproject.servers.pouchdb import PouchDBServer
from testproject.workers import Worker

PROCESSES, SESSIONS = 3, 30
# Hanging takes longer, and is to the processes what a time-out of memcached's is.
CASES_HERE = [case for case in CASES if case[1] != "CouchDB hung"]


@pytest.fixture(scope="module")
def own_nodes() -> Iterator[list[MemcachedNode]]:
    with memcached_nodes(3) as running:
        yield running


@pytest.fixture(scope="module")
def own_couchdb() -> Iterator[CouchDBServer]:
    # One that somebody else runs is not ours to break.
    usual = couchdb_server()
    with usual if isinstance(usual, ApacheCouchDB) else PouchDBServer() as server:
        yield server


@pytest.mark.parametrize(("engine", "kind"), CASES_HERE)
def test_a_second_fault_before_all_know_that_the_first_is_over(
    request: pytest.FixtureRequest,
    web_processes: list[Worker],
    own_nodes: list[MemcachedNode],
    engine: str,
    kind: str,
) -> None:
    couchdb = "own_couchdb" if kind in COUCHDB_KINDS else "couchdb"
    behind = None if engine == "memcached" else request.getfixturevalue(couchdb)
    with site(engine, kind, own_nodes, behind, timeout=0.5) as where:
        harm = Scenario(web_processes[:PROCESSES], where).run(SESSIONS)
    assert harm.requests == 3 * SESSIONS
    assert (harm.counts, harm.errors) == ((0, 0, 0, 0), [])
