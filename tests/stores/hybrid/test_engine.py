"""
The hybrid engine as a site uses it, on real servers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from secrets import token_hex
from typing import Any, cast

import pytest
from django.core.management import CommandError, call_command

from django_distsession import conf
from django_distsession.backends.couchdb import CouchDBSession
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.abilities import parts_of
from django_distsession.stores.contract import Conflict, Versioned
from django_distsession.stores.hybrid import HybridStore
from django_distsession.stores.memcached import MemcachedStore
from testproject.servers import memcached_nodes
from tests.conftest import close_connections, engine_class

MEGABYTE = 1024 * 1024

Engine = type[CouchDBSession]


@pytest.fixture
def session_class(settings: Any, distsession: dict[str, Any]) -> Engine:
    return cast(Engine, engine_class(settings, "hybrid"))


def created(session_class: Engine, **values: object) -> tuple[str, str]:
    session = session_class()
    session.update(values)
    session.create()
    key = session.session_key or ""
    return key, session_class.storage_id(key) or ""


def cache_of(session_class: Engine) -> MemcachedStore:
    parts = parts_of(session_class.get_store())
    return next(part for part in parts if isinstance(part, MemcachedStore))


def held(cache: MemcachedStore, storage_id: str) -> Versioned:
    found = cache.get(storage_id)
    assert found is not None
    return found


def is_cached(session_class: Engine, key: str) -> bool:
    with suppress(StoreUnavailable):
        return cache_of(session_class).get(session_class.storage_id(key) or "") is not None
    return False


def test_status_tells_of_the_engine_and_of_couchdb(session_class: Engine) -> None:
    created(session_class)
    status = {server["store"]: server for server in session_class.status()}
    assert status["hybrid"] == {"store": "hybrid", "taken_unsynced": 0, "synced": 0}
    assert status["couchdb"]["up"]


@pytest.mark.parametrize(("writes", "taken"), [("couchdb", False), ("either", True)])
def test_who_takes_writes_is_a_setting(
    session_class: Engine,
    configure: Callable[..., None],
    writes: str,
    taken: bool,
) -> None:
    configure(HYBRID={"WRITES": writes})
    store = session_class.get_store()
    assert isinstance(store, HybridStore)
    assert store._write_behind.allowed is taken


def test_who_takes_writes_is_one_of_two(configure: Callable[..., None], distsession: Any) -> None:
    configure(HYBRID={"WRITES": "memcached"})
    problem = conf.problems()[0]
    assert problem.setting == 'DISTSESSION["HYBRID"]["WRITES"]'
    assert '"couchdb" or "either"' in problem.message


def test_a_session_too_large_for_memcached_lives_in_couchdb_alone(
    session_class: Engine,
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
    session_class: Engine,
) -> None:
    cache = cache_of(session_class)
    _, storage_id = created(session_class)
    before = held(cache, storage_id)
    cache.replace(storage_id, before.record._replace(validated_at=1), before.token)
    with pytest.raises(Conflict) as conflict:
        cache.invalidate(storage_id, before.token)
    assert conflict.value.current is not None
    assert conflict.value.current.record.validated_at == 1
    cache.invalidate(storage_id, held(cache, storage_id).token)
    assert cache.get(storage_id) is None
    cache.invalidate(storage_id, before.token)


def test_memcached_keeps_a_tombstones_mark(session_class: Engine) -> None:
    cache = cache_of(session_class)
    _, storage_id = created(session_class)
    tombstone = held(cache, storage_id).record.tombstone(2_000_000_000)._replace(unsynced=True)
    cache.put_tombstone(storage_id, tombstone)
    found = held(cache, storage_id).record
    assert found.ended
    assert found.unsynced


@pytest.mark.parametrize("options", [["-m", "2"], ["-m", "2", "-M"]], ids=["evicts", "refuses"])
def test_memcached_that_runs_out_of_memory_costs_no_session(
    session_class: Engine, configure: Callable[..., None], options: list[str]
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
        close_connections(session_class)


def test_logging_out_other_devices_ends_their_copies_in_memcached_too(
    session_class: Engine,
) -> None:
    keys = [created(session_class, _auth_user_id="7")[0] for _ in range(3)]
    other, _ = created(session_class, _auth_user_id="8")
    assert {session.storage_id for session in session_class.for_user(7)} == {
        session_class.storage_id(key) for key in keys
    }
    assert session_class.end_for_user(7, keep=keys[0]) == 2
    for key in keys[1:]:
        tombstone = held(cache_of(session_class), session_class.storage_id(key) or "").record
        assert tombstone.ended
        assert not session_class().exists(key)
    assert session_class().exists(keys[0])
    assert session_class().exists(other)


def test_repairsessions_tells_couchdb_what_memcached_took_alone(
    session_class: Engine,
    configure: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(HYBRID={"WRITES": "either"})
    key, _ = created(session_class, a=1)
    ended, _ = created(session_class, a=1)
    store = session_class.get_store()
    assert isinstance(store, HybridStore)

    def away(*args: object, **kwargs: object) -> Any:
        raise StoreUnavailable("CouchDB is away.")

    with monkeypatch.context() as outage:
        for name in ("get", "add", "replace", "end"):
            outage.setattr(store._durable_gens, f"{name}_gen", away)
        session = session_class(key)
        session["b"] = 2
        session.save()
        session_class(ended).flush()
        new, _ = created(session_class, c=3)
        with pytest.raises(CommandError):
            call_command("repairsessions", stdout=StringIO(), no_progress=True)
    output = StringIO()
    call_command("repairsessions", stdout=output, no_progress=True)
    assert "3 told to CouchDB" in output.getvalue()
    for one, values in ((key, {"a": 1, "b": 2}), (new, {"c": 3})):
        durable = store._durable.get(session_class.storage_id(one) or "")
        assert durable is not None
        opened = session_class.runtime.records.decode(
            session_class.storage_id(one) or "", durable.record
        )
        assert opened is not None
        state, _ = opened
        assert state.values == values
    tombstone = store._durable.get(session_class.storage_id(ended) or "")
    assert tombstone is not None
    assert tombstone.record.ended
    status = {one["store"]: one for one in session_class.status() if "store" in one}
    assert (status["hybrid"]["taken_unsynced"], status["hybrid"]["synced"]) == (3, 3)
