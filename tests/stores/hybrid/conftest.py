"""
Web processes, as far as a session store can tell: each with a hybrid store of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest

from django_distsession.backends import saving
from django_distsession.backends.base import StoreBackedSession
from django_distsession.backends.runtime import Runtime, runtimes
from django_distsession.stores.deadline import Deadline
from django_distsession.stores.hybrid import HybridStore
from django_distsession.stores.hybrid.single_flight import SingleFlight
from django_distsession.stores.operations import run
from django_distsession.stores.record import Record
from tests.stores.hybrid.fakes import FakeCache, FakeDurable, Killed, call, die, one_shot
from tests.stores.manual_clock import ManualClock

REVALIDATE_AFTER = 100
SOON = 30.0

Process = type[StoreBackedSession]


@dataclass
class Tiers:
    """
    Two tiers in memory, and the processes on them.
    """

    either: bool = False
    clock: ManualClock = field(default_factory=ManualClock)
    cache: FakeCache = field(default_factory=FakeCache)
    durable: FakeDurable = field(default_factory=FakeDurable)

    def process(self, timeout: float = 2.0) -> Process:
        tiers = self

        class Session(StoreBackedSession):
            @classmethod
            def make_store(cls, runtime: Runtime) -> HybridStore:
                return HybridStore(
                    tiers.cache,
                    tiers.durable,
                    merge=runtime.records.merge,
                    revalidate_after=REVALIDATE_AFTER,
                    either=tiers.either,
                    timeout=timeout,
                    clock=tiers.clock.clock,
                )

        return Session

    def cached(self, key: str) -> Record | None:
        held = self.cache.held.get(storage_id(key))
        return held and held[0]

    def stored(self, key: str) -> Record | None:
        held = self.durable.held.get(storage_id(key))
        return held and held[0]


def storage_id(key: str) -> str:
    found = StoreBackedSession.storage_id(key)
    assert found is not None
    return found


def hybrid_store(process: Process) -> HybridStore:
    store = process.get_store()
    assert isinstance(store, HybridStore)
    return store


def create(process: Process, **values: object) -> str:
    session = process()
    session.update(values)
    session.create()
    assert session.session_key is not None
    return session.session_key


def loaded(process: Process, key: str) -> StoreBackedSession:
    session = process(key)
    session.keys()
    assert session.session_key == key
    return session


def change(process: Process, key: str, name: str, value: object = 1) -> None:
    """
    Save a session with one more value.
    """
    session = loaded(process, key)
    session[name] = value
    session.save()


def contents(process: Process, key: str) -> dict[str, object] | None:
    """
    What a session holds, or None where there is no such session.
    """
    session = process(key)
    values = dict(session.items())
    return values if session.session_key == key else None


def killed_between_the_writes(tiers: Tiers, process: Process, key: str) -> None:
    """
    Save a session with one more value, which the durable store takes and the cache never sees.
    """
    session = loaded(process, key)
    session["new"] = 1
    one_shot(tiers.cache, "replace", die)
    with pytest.raises(Killed):
        session.save()


def do(
    flights: SingleFlight[str],
    first: Callable[[], str],
    later: Callable[[], str],
    key: str = "key",
    seconds: float = SOON,
) -> str:
    """
    Read by two functions that block.
    """
    operation = flights.do_gen(key, partial(call, first), partial(call, later), Deadline(seconds))
    return run(operation)


def wait_for_handoff() -> None:
    """
    Return when what was missed has been told, or could not be.
    """
    for thread in threading.enumerate():
        if thread.name == "distsession-handoff":
            thread.join(SOON)
            assert not thread.is_alive()


@pytest.fixture(autouse=True)
def _engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(saving, "delay", lambda attempt: 0.0)
    before = dict(runtimes)
    yield
    runtimes.clear()
    runtimes.update(before)


@pytest.fixture
def tiers() -> Tiers:
    return Tiers()


@pytest.fixture
def either() -> Tiers:
    """
    Tiers of which the cache takes writes while the durable store is away.
    """
    return Tiers(either=True)
