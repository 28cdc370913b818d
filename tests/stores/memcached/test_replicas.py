"""
What the replicas of a session hold, when servers change and when copies are not as they should be.
"""

from __future__ import annotations

from typing import Any

import pytest

from django_distsession.backends import saving
from django_distsession.backends.runtime import runtimes
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.deadline import Deadline
from testproject.servers import MemcachedNode

from .conftest import (
    GET,
    SOON,
    ask,
    await_recovery,
    contents,
    copies,
    holders,
    out_of_reach,
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
        connection.send(cache_key, b"mg %b v c t" % cache_key, b"", Deadline(SOON), SOON)
        value = connection.receive().value
        damaged = value[:-1] + bytes([value[-1] ^ 1])
        command = b"ms %b %d T99" % (cache_key, len(value))
        connection.send(cache_key, command, damaged + b"\r\n", Deadline(SOON), SOON)
        connection.receive()
        node.release(connection)
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
