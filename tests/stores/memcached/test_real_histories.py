"""
A few of the histories of `test_histories` on real nodes: fewer, because hanging takes real time,
and without what cannot be brought about there at will.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from testproject.servers import MemcachedNode, memcached_nodes

from .cluster import FakeServer
from .test_histories import CLIENTS, TwoReplicas, clients


class RealServer(FakeServer):
    """
    The same handle, on a real process.
    """

    def __init__(self, node: MemcachedNode) -> None:
        self.node = node
        super().__init__(node.address)

    def __setattr__(self, name: str, value: object) -> None:
        before = getattr(self, "condition", None)
        super().__setattr__(name, value)
        if name == "condition" and value != before:
            if value == "hung":
                self.node.pause()
            elif before == "dead":
                self.node.start()

    def wake(self) -> None:
        self.node.resume()
        super().wake()

    def die(self) -> None:
        self.node.kill()
        super().die()


class RealTwoReplicas(TwoReplicas):
    nodes: ClassVar[list[MemcachedNode]]

    timeout = 0.5

    def make_servers(self) -> list[FakeServer]:
        return [RealServer(node) for node in self.nodes]

    def replace_exchanges(self) -> None:
        """
        Leave it as it is.
        """

    replace_breakers = replace_exchanges

    # Not to be had here. Without the decorator they are no rules.
    reply_is_lost: Any = None
    client_takes_servers_for_down: Any = None
    process_is_killed_while_saving: Any = None
    save_while_another_saves: Any = None

    @precondition(lambda self: self.faulty)
    @rule(client=clients)
    def client_finds_servers_again(self, client: int) -> None:
        store = self.processes[client].get_store()
        conditions = {name: server.condition for name, server in self.cluster.servers.items()}
        while any(
            not status["up"] and conditions[status["server"]] == "up" for status in store.status()
        ):
            store.inspect("0" * 64)

    @precondition(lambda self: self.faulty)
    @rule()
    def repair(self) -> None:
        for server in self.cluster.servers.values():
            if server.condition == "hung":
                server.wake()
            server.condition = "up"
        for client in range(CLIENTS):
            self.client_finds_servers_again(client)
        process = self.processes[0]
        process.get_store().repair(process.storage_id(self.key) or "")
        self.faulty, self.lost_data = None, False

    def teardown(self) -> None:
        self.repair()
        super().teardown()


@pytest.fixture
def pair() -> Iterator[list[MemcachedNode]]:
    with memcached_nodes(2) as running:
        yield running


def test_no_history_on_real_nodes_loses_or_revives_anything(pair: list[MemcachedNode]) -> None:
    RealTwoReplicas.nodes = pair
    run_state_machine_as_test(
        RealTwoReplicas,
        settings=settings(
            max_examples=8,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
