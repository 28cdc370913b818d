"""
The hybrid engine as a site uses it, on real servers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from secrets import token_hex
from typing import Any

import pytest

from django_distsession import conf
from django_distsession.backends.base import StoreBackedSession
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.base import Conflict, Found
from django_distsession.stores.hybrid import HybridStore
from django_distsession.stores.memcached import MemcachedStore
from testproject.servers import memcached_nodes
from tests.conftest import engine_class

MEGABYTE = 1024 * 1024


@pytest.fixture
def session_class(settings: Any, distsession: dict[str, Any]) -> type[StoreBackedSession]:
    return engine_class(settings, "hybrid")


def created(session_class: type[StoreBackedSession], **values: object) -> tuple[str, str]:
    session = session_class()
    session.update(values)
    session.create()
    key = session.session_key or ""
    return key, session_class.storage_id(key) or ""


def cache_of(session_class: type[StoreBackedSession]) -> MemcachedStore:
    parts = session_class.get_store().parts()
    return next(part for part in parts if isinstance(part, MemcachedStore))


def held(cache: MemcachedStore, storage_id: str) -> Found:
    found = cache.get(storage_id)
    assert found is not None
    return found


def is_cached(session_class: type[StoreBackedSession], key: str) -> bool:
    with suppress(StoreUnavailable):
        return cache_of(session_class).get(session_class.storage_id(key) or "") is not None
    return False


def test_status_tells_of_the_engine_and_of_couchdb(session_class: type[StoreBackedSession]) -> None:
    created(session_class)
    status = {server["store"]: server for server in session_class.status()}
    assert status["hybrid"] == {"store": "hybrid", "taken_unsynced": 0, "synced": 0}
    assert status["CouchDB"]["up"]


@pytest.mark.parametrize(("writes", "taken"), [("couchdb", False), ("either", True)])
def test_who_takes_writes_is_a_setting(
    session_class: type[StoreBackedSession],
    configure: Callable[..., None],
    writes: str,
    taken: bool,
) -> None:
    configure(HYBRID={"WRITES": writes})
    store = session_class.get_store()
    assert isinstance(store, HybridStore)
    assert store._either is taken


def test_who_takes_writes_is_one_of_two(configure: Callable[..., None], distsession: Any) -> None:
    configure(HYBRID={"WRITES": "memcached"})
    problem = conf.problems()[0]
    assert problem.setting == 'DISTSESSION["HYBRID"]["WRITES"]'
    assert '"couchdb" or "either"' in problem.message


def test_a_session_too_large_for_memcached_lives_in_couchdb_alone(
    session_class: type[StoreBackedSession],
) -> None:
    key, storage_id = created(session_class, a=1)
    session = session_class(key)
    large = token_hex(MEGABYTE)
    session["large"] = large
    session.save()
    assert cache_of(session_class).get(storage_id) is None
    assert session_class(key)["large"] == large
    session["large"] = ""
    session.save()
    assert is_cached(session_class, key)
    assert dict(session_class(key).items()) == {"a": 1, "large": ""}


def test_memcached_forgets_just_the_copy_that_was_read(
    session_class: type[StoreBackedSession],
) -> None:
    cache = cache_of(session_class)
    _, storage_id = created(session_class)
    before = held(cache, storage_id)
    cache.replace(storage_id, replace(before.record, checked_at=1), before.token)
    with pytest.raises(Conflict) as conflict:
        cache.discard(storage_id, before.token)
    assert conflict.value.found is not None
    assert conflict.value.found.record.checked_at == 1
    cache.discard(storage_id, held(cache, storage_id).token)
    assert cache.get(storage_id) is None
    cache.discard(storage_id, before.token)


def test_memcached_keeps_a_tombstones_mark(session_class: type[StoreBackedSession]) -> None:
    cache = cache_of(session_class)
    _, storage_id = created(session_class)
    tombstone = replace(held(cache, storage_id).record.tombstone(2_000_000_000), unsynced=True)
    cache.bury(storage_id, tombstone)
    found = held(cache, storage_id).record
    assert found.ended
    assert found.unsynced


@pytest.mark.parametrize("options", [["-m", "2"], ["-m", "2", "-M"]], ids=["evicts", "refuses"])
def test_memcached_that_runs_out_of_memory_costs_no_session(
    session_class: type[StoreBackedSession], configure: Callable[..., None], options: list[str]
) -> None:
    with memcached_nodes(1, options) as nodes:
        # A server that refuses writes still answers reads, with what it has.
        revalidate_after = 0 if "-M" in options else 300
        configure(
            MEMCACHED={"SERVERS": [nodes[0].address]},
            HYBRID={"REVALIDATE_AFTER": revalidate_after},
        )
        keys = [created(session_class, number=n, text=token_hex(40_000))[0] for n in range(70)]
        assert not all(is_cached(session_class, key) for key in keys)
        for number, key in enumerate(keys):
            session = session_class(key)
            assert session["number"] == number
            session["again"] = number
            session.save()
        assert [session_class(key)["again"] for key in keys] == list(range(70))
        session_class.get_store().close()
