"""
A durable store that is known to be down, is down at once.
"""

from __future__ import annotations

import logging
import os

import pytest

from django_distsession.exceptions import StoreMisconfigured, StoreUnavailable
from django_distsession.stores.base import Conflict, Record
from django_distsession.stores.hybrid import GuardedStore
from tests.stores.hybrid.conftest import Tiers, contents, create, loaded
from tests.stores.hybrid.fakes import FakeDurable

LOGGER = "django_distsession.hybrid"
TOMBSTONE = Record.tombstone(1)


@pytest.fixture
def store() -> FakeDurable:
    return FakeDurable()


@pytest.fixture
def guarded(store: FakeDurable) -> GuardedStore:
    return GuardedStore(store, name="CouchDB", retry_after=1000)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == LOGGER and record.levelno >= logging.INFO
    ]


def test_after_a_failure_nothing_is_asked_until_it_is_time(
    store: FakeDurable, guarded: GuardedStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.up = False
    for _ in range(3):
        for ask in (
            lambda: guarded.get("x"),
            lambda: guarded.add("x", TOMBSTONE),
            lambda: guarded.replace("x", TOMBSTONE, "1"),
            lambda: guarded.end("x", 1),
        ):
            with pytest.raises(StoreUnavailable, match="down"):
                ask()
    assert store.calls == ["get"]
    guarded.health._retry_at = 0.0
    with pytest.raises(StoreUnavailable):
        guarded.get("x")
    assert store.calls == ["get", "get"]
    assert len(lines(caplog)) == 1
    assert not guarded.status()[0]["up"]
    store.up = True
    guarded.health._retry_at = 0.0
    assert guarded.get("x") is None
    guarded.get("x")
    assert lines(caplog)[1:] == ["CouchDB answers again."]
    assert guarded.status()[0]["up"]


def test_what_is_logged_reads_well(
    store: FakeDurable,
    guarded: GuardedStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(storage_id: str) -> None:
        raise StoreUnavailable("CouchDB at http://a:5984 gives no usable answer (TimeoutError).")

    monkeypatch.setattr(store, "get", fail)
    with pytest.raises(StoreUnavailable):
        guarded.get("x")
    [line] = lines(caplog)
    assert line.endswith(
        "until it does. CouchDB at http://a:5984 gives no usable answer (TimeoutError)."
    )


def test_a_conflict_is_an_answer(store: FakeDurable, guarded: GuardedStore) -> None:
    store.add("x", TOMBSTONE)
    store.up = False
    with pytest.raises(StoreUnavailable):
        guarded.get("x")
    store.up = True
    guarded.health._retry_at = 0.0
    with pytest.raises(Conflict):
        guarded.add("x", TOMBSTONE)
    assert guarded.get("x") is not None


def test_what_an_operator_has_to_do_is_said_each_time(
    store: FakeDurable, guarded: GuardedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(storage_id: str) -> None:
        raise StoreMisconfigured("Check the password.")

    monkeypatch.setattr(store, "get", refuse)
    for _ in range(2):
        with pytest.raises(StoreMisconfigured, match=r"Check the password\."):
            guarded.get("x")


def test_commands_ask_even_so(store: FakeDurable, guarded: GuardedStore) -> None:
    store.up = False
    with pytest.raises(StoreUnavailable):
        guarded.get("x")
    assert guarded.clear_expired().seen == 0
    assert guarded.inspect("x") == []


def test_a_forked_child_asks_for_itself(store: FakeDurable, guarded: GuardedStore) -> None:
    store.up = False
    with pytest.raises(StoreUnavailable):
        guarded.get("x")
    child = os.fork()
    if child == 0:
        os._exit(0 if guarded.health.is_up else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not guarded.health.is_up


def test_a_site_goes_on_when_the_durable_store_is_back(
    tiers: Tiers, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = GuardedStore(tiers.durable, name="CouchDB", retry_after=1000)
    process = tiers.process(guarded)
    key = create(process, a=1)
    tiers.durable.up = False
    tiers.clock.now += 1000
    for _ in range(5):
        assert contents(process, key) == {"a": 1}
        session = loaded(process, key)
        session["b"] = 1
        with pytest.raises(StoreUnavailable):
            session.save()
    assert len(lines(caplog)) == 1
    tiers.durable.up = True
    guarded.health._retry_at = 0.0
    session = loaded(process, key)
    session["b"] = 1
    session.save()
    assert contents(process, key) == {"a": 1, "b": 1}
    assert len(lines(caplog)) == 2
