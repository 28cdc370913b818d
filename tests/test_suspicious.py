"""
What somebody else wrote where a session should be: reported without its contents, and no session.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pymemcache.client.base import Client

from django_distsession.stores.memcached import wire
from testproject.servers import CouchDBServer, MemcachedNode

from .conftest import engine_class, stored
from .sessions import SUSPICIOUS, contents


@pytest.fixture
def reports(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """
    Return a function that returns, and forgets, what was logged as suspicious.
    """

    def taken() -> list[str]:
        messages = [
            record.getMessage()
            for record in caplog.records
            if record.name == SUSPICIOUS and record.levelno >= logging.WARNING
        ]
        caplog.clear()
        return messages

    return taken


@pytest.mark.parametrize(
    "value", [b"", b"x", b"tellnobody" * 100, wire.MAGIC + b"\x01", wire.MAGIC + b"\0" * 200]
)
def test_a_foreign_value_in_memcached_is_no_session(
    settings: Any,
    distsession: dict[str, Any],
    nodes: list[MemcachedNode],
    reports: Callable[[], list[str]],
    value: bytes,
) -> None:
    session_class = engine_class(settings, "memcached")
    key = stored(session_class, word="tellnobody")
    name = f"{distsession['NAMESPACE']}:{session_class.storage_id(key)}"
    for node in nodes:
        with_node = Client(node.address, default_noreply=False)
        with_node.set(name, value)
        with_node.close()
    session = session_class(key)
    assert session.load() == {}
    assert session.session_key is None
    messages = reports()
    assert messages
    assert not any("tellnobody" in message or key in message for message in messages)


def test_a_foreign_value_on_one_replica_is_replaced_by_what_the_other_has(
    settings: Any, distsession: dict[str, Any], nodes: list[MemcachedNode]
) -> None:
    session_class = engine_class(settings, "memcached")
    key = stored(session_class, a=1)
    name = f"{distsession['NAMESPACE']}:{session_class.storage_id(key)}"
    holder = next(c for c in session_class(key).inspect()["copies"] if c["replica"])["place"]
    with_node = Client(holder, default_noreply=False)
    with_node.set(name, b"not ours")
    assert contents(session_class, key) == {"a": 1}
    assert with_node.get(name).startswith(wire.MAGIC)
    with_node.close()


@pytest.mark.parametrize(
    "change",
    [
        {"type": "something else"},
        {"version": None},
        {"version": "tellnobody"},
        {"expires_at": "tellnobody"},
        {"data": None},
        {"data": {"a": 1}},
        {"data": "not base64: tellnobody"},
        None,
    ],
)
def test_a_document_that_lost_its_fields_is_no_session(
    settings: Any,
    distsession: dict[str, Any],
    couchdb: CouchDBServer,
    reports: Callable[[], list[str]],
    change: dict[str, Any] | None,
) -> None:
    session_class = engine_class(settings, "couchdb")
    key = stored(session_class, word="tellnobody")
    url = f"{couchdb.url}/{distsession['COUCHDB']['DATABASE']}/{session_class.storage_id(key)}"
    document = httpx.get(url).json()
    if change is None:
        document = {"_rev": document["_rev"]}
    else:
        document |= change
    assert httpx.put(url, json=document).is_success
    session = session_class(key)
    assert session.load() == {}
    assert session.session_key is None
    messages = reports()
    assert messages
    assert not any("tellnobody" in message or key in message for message in messages)


@pytest.mark.parametrize(
    "version", [[-1, "a" * 8], [2**64, "a" * 8], [1e300, "a" * 8], [1, "\ue000"]]
)
def test_a_document_of_an_impossible_version_is_no_session(
    settings: Any,
    configure: Callable[..., None],
    distsession: dict[str, Any],
    couchdb: CouchDBServer,
    version: list[Any],
) -> None:
    configure(HYBRID={"REVALIDATE_AFTER": 0})
    session_class = engine_class(settings, "hybrid")
    key = stored(session_class, a=1)
    url = f"{couchdb.url}/{distsession['COUCHDB']['DATABASE']}/{session_class.storage_id(key)}"
    document = httpx.get(url).json() | {"version": version}
    assert httpx.put(url, json=document).is_success
    assert session_class(key).load() == {}
    again = session_class(key)
    again["a"] = 2
    again.save()
    assert contents(session_class, again.session_key or "") == {"a": 2}


def test_json_that_is_nested_too_deeply_is_no_session(
    settings: Any,
    configure: Callable[..., None],
    distsession: dict[str, Any],
    nodes: list[MemcachedNode],
    reports: Callable[[], list[str]],
) -> None:
    configure(CODEC="django_distsession.codecs.JSONCodec")
    session_class = engine_class(settings, "memcached")
    key = stored(session_class, a=1)
    storage_id = session_class.storage_id(key) or ""
    found = session_class.get_store().get(storage_id)
    assert found is not None
    deep = found.record._replace(payload=b"[" * 100_000 + b"]" * 100_000)
    session_class.get_store().replace(storage_id, deep, found.token)
    assert session_class(key).load() == {}
    assert reports()
