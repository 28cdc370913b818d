"""
Which servers an exchange asks, and which of them once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from django_distsession.stores.memcached import MemcachedStore
from django_distsession.stores.memcached.exchange import Exchange, insist_gen
from django_distsession.stores.memcached.node import Node
from django_distsession.stores.memcached.protocol import GET, SET, Reply
from django_distsession.stores.operations import Operation
from testproject.servers import MemcachedNode

from .conftest import soon

KEY = b"t:" + b"0" * 64
MISS = Reply(b"EN")


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Node]]:
    """
    Two servers where nobody is, and which nobody watches.
    """
    store = MemcachedStore(
        ["127.0.0.1:1", "127.0.0.1:2"],
        namespace="t",
        merge=lambda storage_id, records: records[0],
        replicas=2,
        quorum=1,
    )
    for node in store.nodes:
        monkeypatch.setattr(node.breaker, "_ensure_watched", lambda: None)
    yield store.nodes
    store.close()


def asking(nodes: list[Node], *, insists: bool = False) -> Exchange:
    return Exchange(KEY, [(node, GET % KEY) for node in nodes], soon(), insists=insists)


@pytest.mark.parametrize(
    ("error", "asks", "insists"),
    [(None, True, True), (ConnectionRefusedError(), False, True), (TimeoutError(), False, False)],
)
def test_one_that_failed_is_asked_if_somebody_insists_and_one_that_hangs_is_not(
    pair: list[Node], error: Exception | None, asks: bool, insists: bool
) -> None:
    node = pair[0]
    if error is not None:
        node.failed(error)
    assert asking(pair).asks(node) == asks
    assert asking(pair, insists=True).asks(node) == insists


def requests_of(operation: Any, result: Any) -> tuple[list[Any], Any]:
    """
    Return what an operation asks for, where each exchange has this result, and what it returns.
    """
    asked: list[Any] = []
    try:
        request = next(operation)
        while True:
            asked.append(request)
            request = operation.send(result if isinstance(request, Exchange) else None)
    except StopIteration as done:
        return asked, done.value


def test_who_is_silent_is_asked_again(pair: list[Node]) -> None:
    first = asking(pair)
    asked, replies = requests_of(insist_gen(first, [MISS, None]), [Reply(b"VA", 7)])
    (again,) = asked
    assert again.commands == [(pair[1], GET % KEY)]
    assert (again.insists, again.until) == (True, first.until)
    assert replies == [MISS, Reply(b"VA", 7)]


def test_if_all_answered_nobody_is_asked_again(pair: list[Node]) -> None:
    assert requests_of(insist_gen(asking(pair), [MISS, MISS]), None) == ([], [MISS, MISS])


def test_one_that_hangs_is_waited_for_before_it_is_asked_again(
    pair: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    one.failed(TimeoutError())
    other.failed(ConnectionRefusedError())
    waited: list[tuple[Node, float]] = []

    def waiting_gen(node: Node, until: float) -> Operation[bool]:
        waited.append((node, until))
        yield from ()
        return False

    monkeypatch.setattr(Node, "await_answer_gen", waiting_gen)
    first = asking(pair)
    asked, replies = requests_of(insist_gen(first, [None, None]), [MISS, None])
    (again,) = asked
    assert waited == [(one, first.until)]
    assert [node for node, _ in again.commands] == pair
    assert replies == [MISS, None]


def test_one_that_another_kept_waiting_is_not_to_blame(use: Any, trio: list[MemcachedNode]) -> None:
    nodes = use(trio[:2], TIMEOUT=1.6, RETRY_AFTER=1000).get_store().nodes
    asking(nodes).perform()
    for server in trio[:2]:
        server.pause()
    # More than goes into the buffers on the way.
    size = 20_000_000
    for node in nodes:
        (connection,) = node.pool._idle
        connection.item_limit = 2 * size
    commands = [(node, SET % (KEY, size, 60)) for node in nodes]
    exchange = Exchange(KEY, commands, nodes[0].clock.monotonic() + 1.0, bytes(size) + b"\r\n")
    assert exchange.perform() == [None, None]
    assert [node.is_up() for node in nodes] == [False, True]
    for server in trio[:2]:
        server.resume()
