"""
What observers are told, of blocking code and of coroutines alike.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.core.exceptions import ImproperlyConfigured

from django_distsession.backends.memcached import SessionStore
from django_distsession.backends.runtime import runtimes
from django_distsession.clock import SYSTEM_CLOCK, Clock
from django_distsession.exceptions import RecordTooLarge, StoreUnavailable
from django_distsession.observing import (
    CopiesMerged,
    CopyRepaired,
    Event,
    ExchangeEnded,
    Observers,
    OperationEnded,
    RecordRefused,
    SaveConflicted,
    ServerDown,
    ServerUp,
    SessionSaved,
    StaleLoad,
    UnsyncedTaken,
    UnsyncedTold,
)
from django_distsession.stores.observed import ObservedStore
from testproject.servers import memcached_nodes
from tests.conftest import engine_class
from tests.driving import Driver
from tests.sessions import Engine
from tests.stores.manual_clock import ManualClock

seen: list[Any] = []


class Collector:
    """
    An observer that keeps what it is told.
    """

    def __call__(self, event: Event) -> None:
        seen.append(event)


def failing(event: Event) -> None:
    raise ValueError("secret")


def of(kind: type[Event], **wanted: Any) -> list[Any]:
    return [
        event
        for event in seen
        if type(event) is kind and all(getattr(event, key) == wanted[key] for key in wanted)
    ]


@pytest.fixture
def observed(
    settings: Any, distsession: dict[str, Any], configure: Callable[..., None]
) -> Callable[..., Engine]:
    """
    Return a function that makes the settings those of an engine with an observer.
    """

    def use(name: str, **sections: Any) -> Engine:
        configure(OBSERVERS=["tests.test_observing.Collector"], **sections)
        found = engine_class(settings, name)
        found()._session_key = None
        seen.clear()
        return found

    return use


@pytest.mark.parametrize("name", ["memcached", "couchdb", "hybrid"])
def test_a_session_from_beginning_to_end(
    observed: Callable[..., Engine], drive: Driver, name: str
) -> None:
    engine = observed(name)
    session = engine()
    session["a"] = 1
    drive(session.save)
    key = session.session_key
    again = engine(key)
    assert drive(again.get, "a") == 1
    again["b"] = 2
    drive(again.save)
    drive(again.save)
    drive(again.flush)
    drive(engine(key).load)
    assert [(one.name, one.outcome) for one in of(OperationEnded, store=name)] == [
        ("add", "ok"),
        ("get", "ok"),
        ("replace", "ok"),
        ("end", "ok"),
        ("get", "ok"),
    ]
    assert [one.how for one in of(SessionSaved)] == ["created", "changed"]
    assert all(one.seconds > 0 and one.error is None for one in of(OperationEnded))
    assert [one.size > 0 for one in of(OperationEnded)] == [True, True, True, False, False]
    exchanges = of(ExchangeEnded)
    assert {one.outcome for one in exchanges} == {"ok"}
    # uvloop's clock stands still for the length of a turn.
    assert all(one.seconds >= 0 and one.sent >= 0 and one.server for one in exchanges)
    commands = {one.name for one in exchanges if one.store == "memcached"}
    assert commands == (set() if name == "couchdb" else {"get", "set"})
    assert {one.store for one in exchanges} == (
        {"memcached", "couchdb"} if name == "hybrid" else {name}
    )
    assert any(one.received > 0 for one in exchanges)
    assert any(one.sent > 100 for one in exchanges)


def test_a_miss(observed: Callable[..., Engine], drive: Driver) -> None:
    drive(observed("memcached")("a" * 32).load)
    [operation] = of(OperationEnded)
    assert (operation.name, operation.outcome, operation.size) == ("get", "miss", 0)


def test_a_touch_is_told_from_a_change(
    observed: Callable[..., Engine], drive: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = observed("memcached", TOUCH_INTERVAL=0)
    manual = ManualClock(SYSTEM_CLOCK.now())
    monkeypatch.setattr(engine, "clock", Clock(lambda: manual.now, SYSTEM_CLOCK.monotonic))
    runtimes.clear()
    session = engine()
    session["a"] = 1
    drive(session.save)
    manual.now += 10
    again = engine(session.session_key)
    drive(again.get, "a")
    drive(again.save)
    assert [one.how for one in of(SessionSaved)] == ["created", "touched"]


def test_a_conflict_is_told_and_so_is_what_became_of_it(
    observed: Callable[..., Engine], drive: Driver
) -> None:
    engine = observed("memcached")
    session = engine()
    session["a"] = 1
    drive(session.save)
    one, other = engine(session.session_key), engine(session.session_key)
    for number, each in enumerate((one, other)):
        drive(each.get, "a")
        each[f"b{number}"] = number
    drive(one.save)
    drive(other.save)
    assert len(of(SaveConflicted, store="memcached")) == 1
    assert [event.outcome for event in of(OperationEnded, name="replace")] == [
        "ok",
        "conflict",
        "ok",
    ]
    assert [event.how for event in of(SessionSaved)] == ["created", "changed", "changed"]


def test_a_save_of_what_has_ended(observed: Callable[..., Engine], drive: Driver) -> None:
    engine = observed("memcached")
    session = engine()
    session["a"] = 1
    drive(session.save)
    drive(engine(session.session_key).flush)
    session["a"] = 2
    with pytest.raises(UpdateError):
        drive(session.save)
    assert len(of(SessionSaved)) == 1
    assert of(OperationEnded, outcome="conflict", error="Conflict")


def test_what_is_too_large(observed: Callable[..., Engine]) -> None:
    session = observed("memcached")()
    # Nothing makes it smaller.
    session["a"] = secrets.token_hex(2 * 1024 * 1024)
    with pytest.raises(RecordTooLarge):
        session.save()
    assert [one.why for one in of(RecordRefused)] == ["too large"]
    assert of(OperationEnded, name="add", outcome="too large", error="RecordTooLarge")


class TestServers:
    def test_that_go_and_come_back(self, observed: Callable[..., Engine], drive: Driver) -> None:
        with memcached_nodes(2) as nodes:
            engine = observed(
                "memcached", MEMCACHED={"SERVERS": [one.address for one in nodes], "REPLICAS": 2}
            )
            session = engine()
            session["a"] = 1
            drive(session.save)
            nodes[0].kill()
            for number in range(3):
                session["a"] = number
                drive(session.save)
            down = of(ServerDown)
            assert [(one.store, one.server) for one in down] == [("memcached", nodes[0].address)]
            assert down[0].error
            nodes[0].start()
            while not of(ServerUp):
                drive(engine(session.session_key).get, "a")
            assert of(ServerUp)[0].server == nodes[0].address
            drive(engine(session.session_key).get, "a")
            assert {one.server for one in of(CopyRepaired)} == {nodes[0].address}

    def test_of_couchdb(
        self, observed: Callable[..., Engine], drive: Driver, configure: Callable[..., None]
    ) -> None:
        engine = observed("couchdb", COUCHDB={"URL": "http://127.0.0.1:9", "RETRY_AFTER": 60})
        with pytest.raises(StoreUnavailable):
            drive(engine("a" * 32).load)
        assert [(one.store, one.server) for one in of(ServerDown)] == [
            ("couchdb", "http://127.0.0.1:9")
        ]
        assert of(ExchangeEnded, outcome="no answer", error="ConnectionRefusedError")
        assert of(OperationEnded, name="get", outcome="unavailable")


def test_one_that_hangs_gives_no_answer(observed: Callable[..., Engine], drive: Driver) -> None:
    with memcached_nodes(1) as nodes:
        engine = observed("memcached", MEMCACHED={"SERVERS": [nodes[0].address], "TIMEOUT": 0.2})
        drive(engine("a" * 32).load)
        nodes[0].pause()
        with pytest.raises(StoreUnavailable):
            drive(engine("a" * 32).load)
        told = of(ExchangeEnded, outcome="no answer", error="TimeoutError")
        assert [(one.server, one.name, one.received) for one in told] == [
            (nodes[0].address, "get", 0)
        ]
        nodes[0].resume()


def test_copies_that_differ_are_merged(observed: Callable[..., Engine], drive: Driver) -> None:
    with memcached_nodes(2) as nodes:
        addresses = [node.address for node in nodes]
        engine = observed("memcached", MEMCACHED={"SERVERS": addresses, "REPLICAS": 2})
        session = engine()
        session["a"] = 1
        drive(session.save)
        for number, address in enumerate(addresses):
            engine = observed("memcached", MEMCACHED={"SERVERS": [address], "REPLICAS": 1})
            each = engine(session.session_key)
            each[f"b{number}"] = number
            drive(each.save)
        engine = observed("memcached", MEMCACHED={"SERVERS": addresses, "REPLICAS": 2})
        assert drive(engine(session.session_key).get, "b0") == 0
        assert [one.copies for one in of(CopiesMerged, store="memcached")] == [2]
        assert [one.server for one in of(CopyRepaired)] == addresses


def test_values_that_are_none_of_ours(observed: Callable[..., Engine], drive: Driver) -> None:
    engine = observed("memcached")
    session = engine()
    session["a"] = 1
    drive(session.save)
    store: Any = engine.get_store()
    replica_set = store._replica_set(engine.storage_id(session.session_key or ""))
    _overwrite(store, replica_set, b"x")
    assert drive(engine(session.session_key).load) == {}
    assert {one.why for one in of(RecordRefused)} == {"foreign"}


def _overwrite(store: Any, replica_set: Any, value: bytes) -> None:
    from django_distsession.stores.memcached.exchange import Exchange

    commands = [
        (node, b"ms %b %d T300" % (replica_set.key, len(value))) for node in replica_set.replicas
    ]
    Exchange(replica_set.key, commands, store._until(), value + b"\r\n").perform()


def test_a_payload_that_was_altered(
    observed: Callable[..., Engine], drive: Driver, settings: Any
) -> None:
    engine = observed("memcached")
    session = engine()
    session["a"] = 1
    drive(session.save)
    settings.SECRET_KEY = "another" * 10
    seen.clear()
    assert drive(engine(session.session_key).load) == {}
    assert [one.why for one in of(RecordRefused)] == ["altered"]


def test_writes_that_memcached_takes_alone(
    observed: Callable[..., Engine], drive: Driver, configure: Callable[..., None], couchdb: Any
) -> None:
    engine = observed(
        "hybrid",
        HYBRID={"WRITES": "either"},
        COUCHDB={"URL": "http://127.0.0.1:9", "RETRY_AFTER": 60},
    )
    session = engine()
    session["a"] = 1
    drive(session.save)
    assert of(UnsyncedTaken, store="hybrid")
    configure(COUCHDB={"URL": couchdb.url})
    assert drive(engine(session.session_key).get, "a") == 1
    assert of(UnsyncedTold, store="hybrid")


def test_a_stale_load(observed: Callable[..., Engine], drive: Driver) -> None:
    from django_distsession import version_cookie

    engine = observed("memcached")
    session = engine()
    session["a"] = 1
    drive(session.save)
    again = engine(session.session_key)
    storage_id = engine.storage_id(session.session_key or "") or ""
    again.version_cookie = version_cookie.sign(storage_id, 5)
    drive(again.get, "a")
    assert [one.prevented for one in of(StaleLoad)] == [False]


class TestObservers:
    def test_one_that_raises_is_logged_once_and_breaks_nothing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen.clear()
        observers = Observers([failing, Collector])
        for _ in range(3):
            observers.tell(ServerUp("memcached", "a"))
        observers.tell(ServerDown("memcached", "a", "OSError"))
        assert len(seen) == 4
        assert [one.name for one in caplog.records] == ["django_distsession.observers"] * 2
        assert all(one.levelno == logging.ERROR for one in caplog.records)

    def test_what_interrupts_goes_through(self) -> None:
        def interrupt(event: Event) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Observers([interrupt]).tell(ServerUp("memcached", "a"))

    def test_without_them_nothing_stands_in_between(
        self, settings: Any, distsession: dict[str, Any]
    ) -> None:
        engine = engine_class(settings, "memcached")
        assert not isinstance(engine.runtime.operations, ObservedStore)
        assert engine.runtime.tell is None
        assert all(node.tell is None for node in engine.get_store().nodes)  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("value", "match"),
        [
            ("tests.test_observing.failing", "a list of dotted paths"),
            (["nowhere"], "a list of dotted paths"),
            (["tests.nowhere.at_all"], "cannot be imported"),
            (["tests.test_observing.seen"], "is no callable"),
        ],
    )
    def test_bad_settings_are_named(
        self,
        settings: Any,
        distsession: dict[str, Any],
        configure: Callable[..., None],
        value: Any,
        match: str,
    ) -> None:
        configure(OBSERVERS=value)
        with pytest.raises(ImproperlyConfigured, match=f"OBSERVERS.*{match}"):
            SessionStore.get_store()


def test_no_event_tells_a_key_or_contents(observed: Callable[..., Engine]) -> None:
    engine = observed("hybrid")
    session = engine()
    session["note"] = "confidential"
    session.save()
    engine(session.session_key).flush()
    told = repr(seen)
    assert session.session_key
    for secret in (session.session_key, engine.storage_id(session.session_key), "confidential"):
        assert str(secret) not in told


def test_the_example_of_the_docs_works(caplog: pytest.LogCaptureFixture) -> None:
    page = (Path(__file__).parents[1] / "docs" / "observing.md").read_text()
    (code,) = [block for block in page.split("```") if "class Watcher" in block]
    names: dict[str, Any] = {"__name__": "shop.watching"}
    exec(code.removeprefix("python\n"), names)
    observers = Observers([names["Watcher"]])
    observers.tell(ServerDown("memcached", "a:1", "OSError"))
    observers.tell(OperationEnded("memcached", "get", "ok", 0.1, 1))
    assert [one.getMessage() for one in caplog.records] == ["a:1 is down: OSError"]
