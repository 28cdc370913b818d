"""
What the replicas of a session hold, when servers change and when copies are not as they should be.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_distsession.backends import saving
from django_distsession.backends.runtime import runtimes
from django_distsession.clock import Clock
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stamps import Stamp
from django_distsession.stores.contract import Conflict
from django_distsession.stores.deadline import Deadline
from django_distsession.stores.memcached import MemcachedStore, wire
from django_distsession.stores.memcached.exchange import Exchange
from django_distsession.stores.memcached.protocol import GET, Reply
from django_distsession.stores.memcached.replica_set import Tokens
from django_distsession.stores.operations import Operation, arun, run
from django_distsession.stores.record import Record
from django_distsession.testing.records import make_record, with_word
from testproject.servers import MemcachedNode

from .conftest import (
    SOON,
    ask,
    await_recovery,
    contents,
    copies,
    holders,
    out_of_reach,
    soon,
    store_of,
    stored,
)


@pytest.mark.parametrize("change", ["add", "remove", "replace"])
def test_changing_one_server_logs_nobody_out(
    use: Any, trio: list[MemcachedNode], change: str
) -> None:
    with MemcachedNode() as fourth:
        before = {"add": trio, "remove": [*trio, fourth], "replace": trio}[change]
        after = {"add": [*trio, fourth], "remove": trio, "replace": [*trio[1:], fourth]}[change]
        old = use(before)
        keys = [stored(old, number=number) for number in range(40)]
        moved = {key: holders(old, key, before) for key in keys}
        new = use(after)
        assert [contents(new, key)["number"] for key in keys] == list(range(40))
        assert any(holders(new, key, after) != moved[key] for key in keys)


def test_processes_with_old_and_new_servers_see_each_others_changes(
    use: Any, trio: list[MemcachedNode]
) -> None:
    with MemcachedNode() as fourth:
        before = use(trio)
        keys = [stored(before, number=number) for number in range(30)]
        runtime = before.runtime
        after: Any = type("NewProcess", (before,), {})
        use([*trio, fourth])
        after.get_store()
        runtimes[before] = runtime
        for turn, key in enumerate(keys):
            for writer, reader in ((after, before), (before, after)):
                session = writer(key)
                session["turn"] = f"{turn} by {writer.__name__}"
                session.save()
                assert contents(reader, key)["turn"] == f"{turn} by {writer.__name__}"
            if turn % 2:
                after(key).flush()
                assert contents(before, key) == {}
                assert contents(after, key) == {}


def test_a_damaged_copy_is_replaced_by_the_other(use: Any, nodes: list[MemcachedNode]) -> None:
    sessions = use(nodes[:2])
    key = stored(sessions, a=1)
    store = store_of(sessions)
    cache_key = store._replica_set(sessions.storage_id(key) or "").key
    for node in store.nodes:
        connection = node.acquire(Deadline(SOON))
        assert connection is not None
        connection.send(cache_key, GET % cache_key, b"", soon(), SOON)
        value = connection.receive().value
        damaged = value[:-1] + bytes([value[-1] ^ 1])
        command = b"ms %b %d T99" % (cache_key, len(value))
        connection.send(cache_key, command, damaged + b"\r\n", soon(), SOON)
        connection.receive()
        node.pool.release(connection)
        assert contents(sessions, key) == {"a": 1}
        assert set(copies(sessions, key).values()) == {"live"}


def test_a_newer_format_is_neither_read_nor_overwritten(
    use: Any, nodes: list[MemcachedNode]
) -> None:
    sessions = use(nodes[:2])
    key = stored(sessions, a=1)
    loaded = sessions(key)
    loaded["b"] = 1
    newer, server = b"dS\xff and something else", nodes[0].address
    ask(sessions, key, server, b"ms %%b %d T99" % len(newer), newer + b"\r\n")
    for attempt in (lambda: contents(sessions, key), loaded.save):
        with pytest.raises(StoreUnavailable, match="newer version"):
            attempt()
    assert ask(sessions, key, server, GET).value == newer
    assert copies(sessions, key)[server] == "unavailable"


def remaining(sessions: Any, node: MemcachedNode, key: str) -> int:
    """
    Return for how many seconds more a server keeps a session, by its own clock.
    """
    return ask(sessions, key, node.address, GET).ttl


def test_a_copy_with_a_longer_life_that_a_node_slept_with_does_not_come_back(
    use: Any, trio: list[MemcachedNode]
) -> None:
    sessions = use(trio[:2])
    key = stored(sessions, a=1)
    whole_life = remaining(sessions, trio[0], key)
    trio[1].pause()
    session = sessions(key)
    session.set_expiry(-1)
    session.save()
    assert contents(sessions, key) == {}
    # Were it forgotten sooner, the other copy would be all that is left.
    assert remaining(sessions, trio[0], key) >= whole_life - 60
    trio[1].resume()
    await_recovery(sessions, key)
    assert contents(sessions, key) == {}
    trio[0].pause()
    assert contents(sessions, key) == {}
    trio[0].resume()


def test_a_merge_is_held_as_long_as_the_longest_copy_lives(
    use: Any, trio: list[MemcachedNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = use(trio, REPLICAS=3, QUORUM=2, RETRY_AFTER=1000)
    key = stored(sessions, a=1)
    long, short = sessions(key), sessions(key)
    for session in (long, short):
        assert session["a"] == 1
    first, _, last = store_of(sessions).nodes
    # One process does not reach the first server.
    with out_of_reach(first):
        monkeypatch.setattr(saving, "new_tag", lambda: "a" * 8)
        long.set_expiry(90 * 24 * 3600)
        long.save()
        whole_life = remaining(sessions, trio[2], key)
    # The other, whose save counts as the later one, does not reach the last, which sleeps.
    with out_of_reach(last):
        monkeypatch.setattr(saving, "new_tag", lambda: "z" * 8)
        short.set_expiry(60)
        short.save()
    for node in trio[:2]:
        assert remaining(sessions, node, key) >= whole_life - 60


class Copies:
    """
    A session on two servers, seen by a process with the right clock and by one whose is wrong.
    """

    def __init__(self, nodes: list[MemcachedNode], offset: int) -> None:
        self.storage_id, self.now = random.randbytes(32).hex(), int(time.time())
        self.right, self.wrong = (self._store(nodes, by) for by in (0, offset))

    def _store(self, nodes: list[MemcachedNode], offset: int) -> MemcachedStore:
        return MemcachedStore(
            [node.address for node in nodes[:2]],
            namespace=self.storage_id,
            merge=lambda storage_id, records: max(records),
            replicas=2,
            quorum=1,
            clock=Clock(now=lambda: self.now + offset),
        )

    def record(self, generation: int, lifetime: int) -> Record:
        return Record(Stamp(generation, "a" * 8), self.now + lifetime, self.now, b"payload")

    def read(self, store: MemcachedStore) -> Record:
        found = store.get(self.storage_id)
        assert found is not None
        return found.record


@pytest.fixture(params=[-3600, 3600])
def two(nodes: list[MemcachedNode], request: pytest.FixtureRequest) -> Iterator[Copies]:
    copies = Copies(nodes, request.param)
    yield copies
    copies.right.close()
    copies.wrong.close()


def test_a_repair_by_a_process_with_a_wrong_clock_prolongs_nothing(two: Copies) -> None:
    token = two.right.add(two.storage_id, two.record(1, 100))
    first, second = two.right.nodes
    # The first server lost its copy, is given one, and is soon the only one with any.
    two.right.invalidate(two.storage_id, Tokens({first: token[first]}))
    two.read(two.wrong)
    two.right.invalidate(two.storage_id, Tokens({second: token[second]}))
    assert two.read(two.right).expires_at == two.now + 100


def test_nor_does_one_that_retains_a_copy_for_as_long_as_an_older_one_lives(two: Copies) -> None:
    token = two.right.add(two.storage_id, two.record(1, 1000))
    first, _ = two.right.nodes
    with out_of_reach(first):
        two.right.replace(two.storage_id, two.record(2, 100), token)
    two.read(two.wrong)
    record = two.read(two.right)
    assert (record.version.generation, record.expires_at) == (2, two.now + 100)
    assert record.retention_deadline == two.now + 1000
    for copy in two.right._replica_set(two.storage_id).asking(two.right.nodes, soon()).perform():
        assert copy is not None
        # Within the time that this test takes.
        assert 1000 + wire.CLOCK_SKEW - SOON <= copy.ttl <= 1000 + wire.CLOCK_SKEW


def test_copies_that_keep_changing_are_read_again_after_longer_and_longer_pauses(
    two: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = two.right
    token = store.add(two.storage_id, two.record(1, 100))
    first, _ = store.nodes
    limits: list[float] = []

    def uniform(least: float, most: float) -> float:
        limits.append(most)
        return least

    monkeypatch.setattr(store._reconciler, "_uniform", uniform)
    replica_set = store._replica_set(two.storage_id)
    store.invalidate(two.storage_id, Tokens({first: token[first]}))
    perform = Exchange.perform

    def somebody_is_faster(exchange: Exchange) -> list[Reply | None]:
        if exchange.body and len(limits) < 7:
            # The copy that is missing is written by somebody else, and soon lost again.
            return [Reply(b"NS")]
        return perform(exchange)

    monkeypatch.setattr(Exchange, "perform", somebody_is_faster)
    assert two.read(store).version.generation == 1
    assert limits == [0.001, 0.002, 0.004, 0.008, 0.016, 0.02, 0.02]
    assert [reply and reply.status for reply in replica_set.asking([first], soon()).perform()] == [
        b"VA"
    ]


@pytest.mark.parametrize("drive", [run, lambda operation: asyncio.run(arun(operation))])
def test_a_token_from_before_a_restart_fits_nothing_that_a_server_holds_since(
    use: Any, trio: list[MemcachedNode], drive: Callable[[Operation[Any]], Any]
) -> None:
    store = store_of(use(trio[:2]))
    node, storage_id = store.nodes[0], "0" * 64
    first = make_record("first")
    drive(store.add_gen(storage_id, first))
    found = drive(store.get_gen(storage_id))
    trio[0].kill()
    trio[0].start()
    drive(store.put_tombstone_gen(storage_id, Record.tombstone(int(time.time()) + 1000)))
    # A server that restarted counts its tokens anew: this one happens to be that of another record.
    found.token[node] = drive(store.get_gen(storage_id)).token[node]
    trio[1].kill()
    with pytest.raises(Conflict) as conflict:
        drive(store.replace_gen(storage_id, with_word(first, "second"), found.token))
    assert conflict.value.current
    assert conflict.value.current.record.ended
