"""
Whatever order requests, outages and killed processes come in: nothing acknowledged is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY as USER_KEY
from django.contrib.sessions.backends.base import UpdateError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_distsession import conf
from django_distsession.backends import base
from django_distsession.backends.base import StoreBackedSession
from django_distsession.backends.records import Records
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.hybrid import HybridStore
from tests.stores.hybrid.fakes import Clock, FakeCache, FakeDurable, FakeStore, Killed

REVALIDATE_AFTER = 100
MANY_CALLS = 30


@dataclass
class Known:
    """
    What users were told of one session.

    written: for each key, when it was acknowledged. ended_at: when its end was. may_be_ended: an
    end was tried. clean: no write to the cache can have been missed, so no copy there is stale.
    """

    key: str
    written: dict[str, float] = field(default_factory=dict)
    ended_at: float | None = None
    may_be_ended: bool = False
    clean: bool = True


@dataclass
class Client:
    """
    A request that has loaded a session and may save it much later.
    """

    known: Known
    session: StoreBackedSession


class TwoTiers(RuleBasedStateMachine):
    either: bool

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cache = FakeCache()
        self.durable = FakeDurable()
        self.processes = [self.process(), self.process()]
        self.sessions: list[Known] = []
        self.clients: list[Client] = []
        self.numbers = iter(range(10_000))

    def process(self) -> type[StoreBackedSession]:
        machine = self

        class Session(StoreBackedSession):
            @classmethod
            def make_store(cls, settings: conf.Settings, records: Records) -> HybridStore:
                return HybridStore(
                    machine.cache,
                    machine.durable,
                    merge=records.merge,
                    revalidate_after=REVALIDATE_AFTER,
                    either=machine.either,
                    clock=machine.clock,
                )

        return Session

    def teardown(self) -> None:
        self.restore()
        for known in self.sessions:
            for process in self.processes:
                self.read(process, known)
            self.check_tiers(known)

    # What requests do.

    def login(self, process: type[StoreBackedSession]) -> None:
        session = process()
        session[USER_KEY] = "42"
        clean = self.cache.up
        try:
            session.create()
        except StoreUnavailable:
            assert not self.durable.up
            assert not (self.either and self.cache.up)
            return
        known = Known(session.session_key or "", clean=clean)
        known.written[USER_KEY] = self.clock.now
        self.sessions.append(known)
        self.clients.append(Client(known, session))

    def load(self, process: type[StoreBackedSession], known: Known) -> None:
        session = self.read(process, known)
        if session is not None and session.session_key is not None:
            self.clients.append(Client(known, session))

    def read(self, process: type[StoreBackedSession], known: Known) -> StoreBackedSession | None:
        required = self.required(known)
        was_ended = self.must_be_ended(known)
        session = process(known.key)
        try:
            shown = dict(session.items())
        except StoreUnavailable:
            assert not self.durable.up or (
                self.either and not self.cache.up and not self.holds(self.durable, known)
            )
            assert not (self.cache.up and self.holds(self.cache, known))
            return None
        if session.session_key is None:
            assert known.may_be_ended, "a session was lost"
        else:
            assert not was_ended, "an ended session is live"
            assert required <= shown.keys(), "an acknowledged change is missing"
        return session

    def save(self, client: Client) -> None:
        known, session = client.known, client.session
        if session not in [other.session for other in self.clients]:
            return
        name = f"key{next(self.numbers)}"
        was_ended = self.must_be_ended(known)
        had_copy = self.holds(self.cache, known)
        self.missed_unless(known, self.cache.up)
        session[name] = 1
        try:
            session.save()
        except StoreUnavailable:
            known.clean = False
            assert not self.durable.up
            assert not (self.either and self.cache.up and had_copy)
            self.clients.remove(client)
        except UpdateError:
            assert known.may_be_ended
            self.clients.remove(client)
        else:
            assert not was_ended, "an ended session was saved"
            known.written[name] = self.clock.now

    def logout(self, process: type[StoreBackedSession], known: Known) -> None:
        known.may_be_ended = True
        self.missed_unless(known, self.cache.up)
        try:
            process(known.key).delete()
        except StoreUnavailable:
            known.clean = False
            assert not self.durable.up or not self.holds(self.durable, known)
            assert not (self.either and self.cache.up and self.holds(self.cache, known))
        else:
            known.ended_at = known.ended_at or self.clock.now

    def flush(self, client: Client) -> None:
        known = client.known
        known.may_be_ended = True
        self.missed_unless(known, self.cache.up)
        try:
            client.session.flush()
        except StoreUnavailable:
            known.clean = False
            assert not self.durable.up
            assert not (self.either and self.cache.up)
        else:
            known.ended_at = known.ended_at or self.clock.now
            if client in self.clients:
                self.clients.remove(client)

    # What they may expect.

    def missed_unless(self, known: Known, is_told: bool) -> None:
        known.clean = known.clean and is_told

    def holds(self, store: FakeStore, known: Known) -> bool:
        storage_id = self.processes[0].storage_id(known.key)
        return storage_id in store.held

    def is_beyond_reach(self, known: Known) -> bool:
        """
        Whether the cache alone knows something, and is away: both tiers failed in turn.
        """
        held = self.cache.held.get(self.processes[0].storage_id(known.key) or "")
        return not self.cache.up and held is not None and held[0].unsynced

    def required(self, known: Known) -> set[str]:
        if self.is_beyond_reach(known):
            return set()
        if known.clean:
            return set(known.written)
        if not self.durable.up:
            return set()
        bound = self.clock.now - REVALIDATE_AFTER
        return {name for name, at in known.written.items() if at <= bound}

    def must_be_ended(self, known: Known) -> bool:
        if known.ended_at is None or self.is_beyond_reach(known):
            return False
        if known.clean:
            return True
        return self.durable.up and known.ended_at <= self.clock.now - REVALIDATE_AFTER

    def check_tiers(self, known: Known) -> None:
        storage_id = self.processes[0].storage_id(known.key) or ""
        durable = self.durable.held[storage_id][0]
        cached = self.cache.held.get(storage_id)
        assert durable.user == (None if durable.ended else "42")
        assert cached is not None
        assert not cached[0].unsynced
        assert cached[0].ended == durable.ended
        if not durable.ended:
            assert cached[0].version == durable.version
            assert cached[0].origin == self.durable.held[storage_id][1]

    # The rules.

    @initialize()
    def begin(self) -> None:
        self.login(self.processes[0])

    def an_action(self, data: st.DataObject, process: type[StoreBackedSession]) -> Callable[[], Any]:
        known = data.draw(st.sampled_from(self.sessions), "session")
        actions: list[Callable[[], Any]] = [
            lambda: self.load(process, known),
            lambda: self.read(process, known),
        ]
        mine = [one for one in self.clients if type(one.session) is process]
        if mine:
            client = data.draw(st.sampled_from(mine), "client")
            actions += [lambda: self.save(client)] * 3
            actions.append(lambda: self.flush(client))
        actions.append(lambda: self.logout(process, known))
        number = data.draw(st.integers(0, len(actions) - 1), "action")
        return actions[number]

    @rule()
    def somebody_logs_in(self) -> None:
        if len(self.sessions) < 4:
            self.login(self.processes[0])

    @rule(data=st.data(), which=st.integers(0, 1))
    def request(self, data: st.DataObject, which: int) -> None:
        self.an_action(data, self.processes[which])()

    @rule(data=st.data(), at=st.integers(1, 8))
    def two_requests_race(self, data: st.DataObject, at: int) -> None:
        """
        The second runs from beginning to end just before a tier carries out the first's n-th call.
        """
        first = self.an_action(data, self.processes[0])
        second = self.an_action(data, self.processes[1])
        self.at_call(at, second)
        first()
        self.at_call(0, None)

    @rule(data=st.data(), at=st.integers(1, 6))
    def a_process_is_killed(self, data: st.DataObject, at: int) -> None:
        mine = [one for one in self.clients if type(one.session) is self.processes[0]]
        if not mine:
            return
        client = data.draw(st.sampled_from(mine), "client")
        action = data.draw(st.sampled_from([self.save, self.flush]), "action")

        def die() -> None:
            raise Killed

        self.at_call(at, die)
        try:
            action(client)
        except Killed:
            client.known.clean = False
            if client in self.clients:
                self.clients.remove(client)
        self.at_call(0, None)

    def at_call(self, number: int, action: Callable[[], Any] | None) -> None:
        left = number

        def before(name: str) -> None:
            nonlocal left
            left -= 1
            if left == 0 and action is not None:
                action()

        self.cache.before = self.durable.before = before

    @rule(tier=st.sampled_from(["cache", "durable"]), loses_replies=st.booleans())
    def a_tier_goes_down(self, tier: str, loses_replies: bool) -> None:
        store: FakeStore = getattr(self, tier)
        store.up = False
        store.loses_replies = loses_replies

    @rule()
    def the_tiers_come_back(self) -> None:
        self.cache.up = self.durable.up = True

    @precondition(lambda self: not self.cache.has_unsynced)
    @rule()
    def the_cache_restarts_empty(self) -> None:
        self.cache.flush()
        self.cache.up = True

    @rule(seconds=st.sampled_from([1, REVALIDATE_AFTER + 1]))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule()
    def everything_is_repaired(self) -> None:
        self.restore()
        for known in self.sessions:
            self.read(self.processes[0], known)
            known.clean = True

    def restore(self) -> None:
        self.the_tiers_come_back()
        self.clock.now += REVALIDATE_AFTER + 1

    @invariant()
    def the_durable_store_alone_is_told_everything_where_it_must(self) -> None:
        if not self.either:
            assert not self.cache.has_unsynced


@pytest.fixture(autouse=True)
def _engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(base, "_pause", lambda attempt: None)
    before = dict(StoreBackedSession._engines)
    yield
    StoreBackedSession._engines.clear()
    StoreBackedSession._engines.update(before)


@pytest.mark.parametrize("either", [False, True])
def test_nothing_acknowledged_is_lost_and_nothing_ended_comes_back(either: bool) -> None:
    machine = type("Machine", (TwoTiers,), {"either": either})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=250,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
