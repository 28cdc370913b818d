"""
Outages of real nodes under several web processes. Nobody is to suffer.

Some processes serve requests during the outage and some sleep through it with their connections
open: those are the ones that would hand out what a node that comes back still has.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from testproject.servers import CouchDBServer, MemcachedNode

from .workers import UNHARMED, Users, workers

Fault = Callable[[MemcachedNode], None]


def hang(node: MemcachedNode) -> None:
    node.pause()


def wake(node: MemcachedNode) -> None:
    node.resume()


def die(node: MemcachedNode) -> None:
    node.kill()


def come_back_empty(node: MemcachedNode) -> None:
    node.start()


@pytest.fixture(params=["memcached", "hybrid"])
def behind(request: pytest.FixtureRequest) -> CouchDBServer | None:
    """
    The CouchDB behind memcached, on the hybrid engine; None on the memcached engine.
    """
    if request.param == "memcached":
        return None
    couchdb: CouchDBServer = request.getfixturevalue("couchdb")
    return couchdb


@pytest.fixture(params=[False, True], ids=["blocking", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


FAULTS = pytest.mark.parametrize(
    ("begin", "end"), [(hang, wake), (die, come_back_empty)], ids=["hang", "restart"]
)
REPLICATION = pytest.mark.parametrize(("replicas", "quorum"), [(2, 1), (3, 2)], ids=["2/1", "3/2"])


@FAULTS
@REPLICATION
def test_an_outage_of_each_node_in_turn_harms_nobody(
    behind: CouchDBServer | None,
    is_async: bool,
    trio: list[MemcachedNode],
    begin: Fault,
    end: Fault,
    replicas: int,
    quorum: int,
) -> None:
    with workers(4, trio, replicas, quorum, behind, is_async=is_async) as running:
        awake = running[:2]
        users = Users(running)
        users.arrive(6)
        users.look()
        for node in trio:
            begin(node)
            users.change(awake)
            users.log_out(1, awake)
            users.look(awake)
            end(node)
            # First of all those who know nothing of it.
            users.look(running[2:])
            users.look()
            users.change()
            users.look()
            users.recover()
        assert len(users.ended) == 3
        assert users.harm == UNHARMED


@FAULTS
def test_all_processes_change_one_session_at_once_during_an_outage(
    behind: CouchDBServer | None,
    is_async: bool,
    trio: list[MemcachedNode],
    begin: Fault,
    end: Fault,
) -> None:
    with workers(4, trio, 2, 1, behind, is_async=is_async) as running:
        users = Users(running)
        users.arrive(3)
        for node in trio:
            users.change_at_once()
            begin(node)
            users.change_at_once()
            users.look()
            end(node)
            users.change_at_once()
            users.look()
            users.recover()
        assert users.harm == UNHARMED


def test_two_overlapping_outages_with_three_replicas_and_quorum_two(
    behind: CouchDBServer | None,
    is_async: bool,
    trio: list[MemcachedNode],
) -> None:
    one, two, three = trio
    with workers(4, trio, 3, 2, behind, is_async=is_async) as running:
        awake = running[:2]
        users = Users(running)
        users.arrive(5)
        users.look()
        for first, second in ((one, two), (two, three), (three, one)):
            first.pause()
            users.change(awake)
            users.log_out(1, awake)
            # While both are away, writes are refused and reads too: nothing can go wrong. Nobody
            # asks meanwhile, so nobody is told off.
            second.pause()
            first.resume()
            for worker in running:
                worker("recover", first.address)
            # The first has missed everything, the second nothing until now.
            users.look(running[2:])
            users.change(awake)
            users.log_out(1, awake)
            users.look(awake)
            second.resume()
            users.look(running[2:])
            users.look()
            users.recover()
        assert users.harm == UNHARMED


def test_a_write_cut_short_by_a_restart_is_whole_or_repeated(
    behind: CouchDBServer | None, is_async: bool, trio: list[MemcachedNode]
) -> None:
    # Nodes die while all processes write: a save may reach a node that has just lost its data.
    with workers(3, trio, 2, 1, behind, is_async=is_async) as running:
        users = Users(running)
        users.arrive(3)
        for turn, node in enumerate(trio * 2):
            for key, expected in users.expected.items():
                for number, worker in enumerate(running):
                    worker.tell("write", key, {f"w{number}": turn})
                node.kill()
                node.start()
                for number, worker in enumerate(running):
                    if worker.hear() is not None:
                        expected[f"w{number}"] = turn
                users.look()
            users.recover()
        assert users.harm == UNHARMED
