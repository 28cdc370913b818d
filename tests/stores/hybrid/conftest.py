"""
Web processes, as far as a session store can tell: each with a hybrid store of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from django_distsession.backends import saving
from django_distsession.backends.base import StoreBackedSession
from django_distsession.backends.runtime import Runtime, runtimes
from django_distsession.stores.hybrid import HybridStore
from django_distsession.stores.record import Record
from tests.stores.hybrid.fakes import Clock, FakeCache, FakeDurable

REVALIDATE_AFTER = 100

Process = type[StoreBackedSession]


@dataclass
class Tiers:
    """
    Two tiers in memory, and the processes on them.
    """

    either: bool = False
    clock: Clock = field(default_factory=Clock)
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
                    clock=tiers.clock,
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
