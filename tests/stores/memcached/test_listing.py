"""
Which sessions a server holds.
"""

from __future__ import annotations

import base64
import socket
from typing import Any

import pytest

from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.memcached.connection import Connection, CrawlerBusy
from testproject.servers import MemcachedNode

from .conftest import contents, store_of, stored
from .impostor import impostor
from .test_repairsessions import repair


def test_a_listing_that_somebody_else_asked_for_is_waited_for(
    use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MemcachedNode() as node:
        sessions = use([node])
        stored(sessions, a=1)
        dump, busy = Connection.dump_keys, [True]

        def dump_keys(connection: Connection, patience: float) -> Any:
            if busy:
                busy.pop()
                raise CrawlerBusy
            return dump(connection, patience)

        monkeypatch.setattr(Connection, "dump_keys", dump_keys)
        with store_of(sessions).list_ids(store_of(sessions).nodes[0]) as ids:
            assert len(list(ids)) == len(ids) == 1


@pytest.mark.parametrize("name", ["0" * 7, "x" * 129, "A" * 64, "a b", "\x00"])
def test_what_is_stored_under_our_prefix_and_is_no_session_is_passed_by(
    use: Any, nodes: list[MemcachedNode], name: str
) -> None:
    sessions = use(nodes[:2])
    key = stored(sessions, a=1)
    prefix = store_of(sessions)._prefix
    binary = base64.b64encode(prefix + name.encode())
    with socket.create_connection(("127.0.0.1", nodes[0].port)) as server:
        server.sendall(b"ms %b 1 b\r\nx\r\n" % binary)
        assert server.recv(100).startswith(b"HD")
    assert "2 copies seen: 0 sessions repaired" in repair()
    assert all(server["up"] for server in sessions.status())
    assert contents(sessions, key) == {"a": 1}


def test_a_list_of_keys_that_has_no_lines_is_none(use: Any) -> None:
    with impostor(lambda verb, ending: b"x" * 100_000) as address:
        sessions = use([address])
        store = store_of(sessions)
        with pytest.raises(StoreUnavailable, match="cut short, or none"):
            store.list_ids(store.nodes[0])
        store.close()
