"""
Comparing the replicas of many sessions at a time.
"""

from __future__ import annotations

from itertools import chain
from typing import Any
from unittest.mock import Mock

import pytest
from pymemcache.exceptions import MemcacheUnexpectedCloseError

from django_distsession.backends.memcached import SessionStore
from django_distsession.stores.memcached.comparing import AT_ONCE
from django_distsession.stores.memcached.connection import Connection
from django_distsession.stores.memcached.node import Node
from testproject.servers import MemcachedNode

from .conftest import ask, contents, holders, store_of, stored
from .impostor import impostor
from .test_repairsessions import repair

Engine = type[SessionStore]


def node_of(sessions: Engine, server: MemcachedNode) -> Node:
    (node,) = [node for node in store_of(sessions).nodes if node.name == server.address]
    return node


def listed(sessions: Engine, node: Node) -> list[str]:
    with store_of(sessions).list_ids(node) as ids:
        return list(ids)


def differing(sessions: Engine) -> list[list[str]]:
    """
    Compare all that each server holds, and return what is in doubt.
    """
    store, found = store_of(sessions), []
    gone_through: list[Node] = []
    for node in store.nodes:
        found.append(list(store.differing(listed(sessions, node), node, gone_through)))
        gone_through.append(node)
    return found


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """
    The commands that were sent.
    """
    sent: list[bytes] = []
    send_all = Connection.send_all

    def noted(self: Connection, questions: Any, until: float) -> None:
        sent.extend(command for _, command in questions)
        send_all(self, questions, until)

    monkeypatch.setattr(Connection, "send_all", noted)
    return sent


def test_what_is_the_same_is_not_in_doubt(use: Any, trio: list[MemcachedNode]) -> None:
    sessions = use(trio)
    for number in range(2 * AT_ONCE):
        stored(sessions, number=number)
    sessions(stored(sessions, a=1)).flush()
    assert differing(sessions) == [[], [], []]


def test_each_is_compared_once_and_then_only_looked_for(
    use: Any, trio: list[MemcachedNode], questions: list[bytes]
) -> None:
    sessions = use(trio)
    for number in range(30):
        stored(sessions, number=number)
    differing(sessions)
    values = [command for command in questions if b" v" in command]
    assert len(values) == 2 * len(set(values)) == 60
    assert len(questions) - len(values) == 30


def test_an_older_copy_is_in_doubt(use: Any, trio: list[MemcachedNode]) -> None:
    sessions = use(trio)
    key = stored(sessions, a=1)
    stored(sessions, b=1)
    first, second = holders(sessions, key, trio)
    value = ask(sessions, key, first.address, b"mg %b v c t").value
    session = sessions(key)
    session["a"] = 2
    session.save()
    ask(sessions, key, second.address, b"ms %%b %d T300" % len(value), value + b"\r\n")
    assert differing(sessions)[trio.index(first)] == [sessions.storage_id(key)]
    assert "1 sessions repaired by writing 1 copies" in repair()
    assert contents(sessions, key) == {"a": 2}


@pytest.mark.parametrize("position", [0, 1])
def test_a_copy_that_is_missing_is_in_doubt(
    use: Any, trio: list[MemcachedNode], position: int
) -> None:
    sessions = use(trio)
    key = stored(sessions, a=1)
    ask(sessions, key, holders(sessions, key, trio)[position].address, b"md %b")
    found = differing(sessions)
    assert [*chain.from_iterable(found)] == [sessions.storage_id(key)]
    assert "1 copies seen: 1 sessions repaired by writing 1 copies" in repair()


def test_a_copy_on_another_server_is_in_doubt(use: Any, trio: list[MemcachedNode]) -> None:
    sessions = use(trio)
    key = stored(sessions, a=1)
    (other,) = [node for node in trio if node not in holders(sessions, key, trio)]
    value = ask(sessions, key, holders(sessions, key, trio)[0].address, b"mg %b v c t").value
    ask(sessions, key, other.address, b"ms %%b %d T300" % len(value), value + b"\r\n")
    assert differing(sessions)[trio.index(other)] == [sessions.storage_id(key)]


@pytest.mark.parametrize("value", [b"x", b"dS\x02" + b"x" * 100, b""], ids=["foreign", "newer", ""])
def test_what_cannot_be_read_is_in_doubt(use: Any, trio: list[MemcachedNode], value: bytes) -> None:
    sessions = use(trio)
    key = stored(sessions, a=1)
    for node in holders(sessions, key, trio):
        ask(sessions, key, node.address, b"ms %%b %d T300" % len(value), value + b"\r\n")
    assert [*chain.from_iterable(differing(sessions))] == [sessions.storage_id(key)]


def test_another_sessions_record_is_in_doubt(use: Any, trio: list[MemcachedNode]) -> None:
    sessions = use(trio)
    key, other = stored(sessions, a=1), stored(sessions, b=1)
    server = holders(sessions, other, trio)[0].address
    value = ask(sessions, other, server, b"mg %b v c t").value
    for node in holders(sessions, key, trio):
        ask(sessions, key, node.address, b"ms %%b %d T300" % len(value), value + b"\r\n")
    assert [*chain.from_iterable(differing(sessions))] == [sessions.storage_id(key)]


class TestFaults:
    def test_one_that_hangs_costs_its_own_sessions_one_time_out(
        self, use: Any, trio: list[MemcachedNode], questions: list[bytes]
    ) -> None:
        sessions = use(trio, TIMEOUT=0.2, RETRY_AFTER=60)
        for number in range(2 * AT_ONCE):
            stored(sessions, number=number)
        first, second, _ = store_of(sessions).nodes
        ids = listed(sessions, first)
        trio[1].pause()
        try:
            found = list(store_of(sessions).differing(ids, first, []))
            shared = [one for one in ids if second in store_of(sessions)._replica_set(one).replicas]
            assert found == shared
            assert [node.breaker.is_up for node in store_of(sessions).nodes] == [True, False, True]
            asked = len(questions)
            assert list(store_of(sessions).differing(ids, first, [])) == shared
            assert len(questions) - asked == 2 * len(ids) - len(shared)
        finally:
            trio[1].resume()

    def test_one_that_dies_is_told(self, use: Any, trio: list[MemcachedNode]) -> None:
        sessions = use(trio)
        for number in range(20):
            stored(sessions, number=number)
        first, second, _ = store_of(sessions).nodes
        ids = listed(sessions, first)
        trio[1].kill()
        found = list(store_of(sessions).differing(ids, first, []))
        replicas = {one: store_of(sessions)._replica_set(one).replicas for one in ids}
        assert found == [one for one in ids if second in replicas[one]]

    @pytest.mark.parametrize("garbage", [b"", b"EN\r\n", b"VA 5 c1 t9 kx O1\r\nabcde\r\n", b"\x00"])
    def test_what_is_no_reply_settles_nothing(self, use: Any, garbage: bytes) -> None:
        with impostor(lambda verb, ending: garbage * 100) as address:
            sessions = use([address], TIMEOUT=0.2)
            ids = ["0" * 64, "1" * 64]
            (node,) = store_of(sessions).nodes
            assert list(store_of(sessions).differing(ids, node, [])) == ids
            assert node.status().last_error

    def test_replies_in_another_order_settle_nothing(self, use: Any) -> None:
        replies: list[bytes] = []

        def swapped(verb: bytes, ending: bytes) -> bytes:
            replies.append(b"HD" + ending)
            return b"" if len(replies) < 2 else b"".join(reversed(replies))

        with impostor(swapped) as address:
            sessions = use([address])
            (node,) = store_of(sessions).nodes
            ids = ["0" * 64, "1" * 64]
            assert list(store_of(sessions).differing(ids, node, [node])) == ids

    def test_an_interruption_leaves_no_connection_half_read(
        self, use: Any, trio: list[MemcachedNode], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sessions = use(trio)
        keys = [stored(sessions, number=number) for number in range(5)]
        (node, *_) = store_of(sessions).nodes

        open_ones: list[Connection] = []

        def interrupted(self: Connection, until: float) -> Any:
            open_ones.append(self)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Connection, "receive_all", interrupted)
            # The traceback keeps everything alive.
            with pytest.raises(KeyboardInterrupt) as raised:
                list(store_of(sessions).differing(listed(sessions, node), node, []))
        assert [one.sock for one in open_ones] == [None]
        assert raised.traceback
        assert [contents(sessions, key)["number"] for key in keys] == list(range(5))
        assert all(one.breaker.is_up for one in store_of(sessions).nodes)

    def test_one_that_hangs_up_is_not_waited_for(self) -> None:
        connection = Connection(("127.0.0.1", 1), connect_timeout=1.0)
        connection.sock = sock = Mock()
        connection.send_all([(b"a", b"mg a")], until=1.0)
        sock.recv.return_value = b""
        with pytest.raises(MemcacheUnexpectedCloseError):
            connection.receive_all(until=1.0)
