"""
Whatever order requests, outages and killed processes come in: nothing acknowledged is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
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

from django_distsession.backends.base import StoreBackedSession
from django_distsession.exceptions import StoreUnavailable
from tests.stores.hybrid.conftest import REVALIDATE_AFTER, Process, Tiers, hybrid_store
from tests.stores.hybrid.fakes import FakeStore, Killed

# As often as they are named here.
ACTIONS = "read load save save save save save logout flush"


@dataclass
class Known:
    """
    What users were told of one session.

    written: for each key, when it was acknowledged. ended_at: when its end was. may_be_ended: an
    end was tried. clean: no write to the cache can have been missed, so no copy there is stale.
    writers: for each key, the process that wrote it. ended_by: those that ended it.
    """

    key: str
    written: dict[str, float] = field(default_factory=dict)
    writers: dict[str, Process] = field(default_factory=dict)
    ended_at: float | None = None
    ended_by: set[Process] = field(default_factory=set)
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
        tiers = Tiers(self.either)
        self.clock, self.cache, self.durable = tiers.clock, tiers.cache, tiers.durable
        self.processes = [tiers.process(), tiers.process()]
        self.sessions: list[Known] = []
        self.clients: list[Client] = []
        self.numbers = iter(range(10_000))

    def teardown(self) -> None:
        self.restore()
        for known in self.sessions:
            for process in self.processes:
                self.read(process, known)
            self.check_tiers(known)

    # What requests do.

    def login(self, process: Process) -> None:
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
        known.writers[USER_KEY] = process
        self.sessions.append(known)
        self.clients.append(Client(known, session))

    def load(self, process: Process, known: Known) -> None:
        session = self.read(process, known)
        if session is not None and session.session_key is not None:
            self.clients.append(Client(known, session))

    def read(self, process: Process, known: Known) -> StoreBackedSession | None:
        required = self.required(known, process)
        was_ended = self.must_be_ended(known, process)
        session = process(known.key)
        try:
            shown = dict(session.items())
        except StoreUnavailable:
            assert not self.durable.up or self.may_be_in_the_cache_alone(known)
            is_outdated = self.knows_of_a_miss(process, known)
            assert is_outdated or not (self.cache.up and self.holds(self.cache, known))
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
        was_ended = self.must_be_ended(known, type(session))
        had_copy = self.holds(self.cache, known)
        self.missed_unless(known, self.cache.up)
        session[name] = 1
        try:
            session.save()
        except StoreUnavailable:
            known.clean = False
            assert not self.durable.up or self.may_be_in_the_cache_alone(known)
            assert not (self.either and self.cache.up and had_copy)
            self.clients.remove(client)
        except UpdateError:
            assert known.may_be_ended
            self.clients.remove(client)
        else:
            assert not was_ended, "an ended session was saved"
            known.written[name] = self.clock.now
            known.writers[name] = type(session)

    def logout(self, process: Process, known: Known) -> None:
        known.may_be_ended = True
        self.missed_unless(known, self.cache.up)
        try:
            process(known.key).delete()
        except StoreUnavailable:
            known.clean = False
            assert not self.durable.up or self.may_be_in_the_cache_alone(known)
            is_outdated = self.knows_of_a_miss(process, known)
            has_copy = self.cache.up and self.holds(self.cache, known)
            assert is_outdated or not (self.either and has_copy)
        else:
            known.ended_at = known.ended_at or self.clock.now
            known.ended_by.add(process)

    def flush(self, client: Client) -> None:
        known = client.known
        known.may_be_ended = True
        self.missed_unless(known, self.cache.up)
        if client in self.clients:
            self.clients.remove(client)
        try:
            client.session.flush()
        except StoreUnavailable:
            known.clean = False
            assert not self.durable.up
            assert not (self.either and self.cache.up)
        else:
            known.ended_at = known.ended_at or self.clock.now
            known.ended_by.add(type(client.session))

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

    def may_be_in_the_cache_alone(self, known: Known) -> bool:
        return self.either and not self.cache.up and not self.holds(self.durable, known)

    def knows_of_a_miss(self, process: Process, known: Known) -> bool:
        return process.storage_id(known.key) in hybrid_store(process)._missed.ids()

    def required(self, known: Known, process: Process) -> set[str]:
        """
        What this process must show: what it wrote itself, and what others wrote long ago.
        """
        if self.is_beyond_reach(known):
            return set()
        if known.clean:
            return set(known.written)
        own = {name for name, writer in known.writers.items() if writer is process}
        if not self.durable.up:
            return own
        bound = self.clock.now - REVALIDATE_AFTER
        return own | {name for name, at in known.written.items() if at <= bound}

    def must_be_ended(self, known: Known, process: Process) -> bool:
        if known.ended_at is None or self.is_beyond_reach(known):
            return False
        if known.clean or process in known.ended_by:
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
            assert cached[0].source_rev == self.durable.held[storage_id][1]

    # The rules.

    @initialize()
    def begin(self) -> None:
        self.login(self.processes[0])

    def an_action(
        self, data: st.DataObject, process: Process, kinds: str = ACTIONS
    ) -> Callable[[], Any]:
        known = data.draw(st.sampled_from(self.alive or self.sessions), "session")
        kind = data.draw(st.sampled_from(kinds.split()), "action")
        if kind in ("save", "flush"):
            client = self.a_client(data, process, known)
            if client is not None:
                return partial(self.save if kind == "save" else self.flush, client)
        if kind == "logout":
            return partial(self.logout, process, known)
        return partial(self.read if kind == "read" else self.load, process, known)

    @property
    def alive(self) -> list[Known]:
        return [known for known in self.sessions if not known.may_be_ended]

    def a_client(self, data: st.DataObject, process: Process, known: Known) -> Client | None:
        mine = [one for one in self.clients if type(one.session) is process]
        if not mine or data.draw(st.booleans(), "loads"):
            self.load(process, known)
            mine = [one for one in self.clients if type(one.session) is process]
        # The last one is in use most; earlier ones have long been overtaken.
        return data.draw(st.sampled_from([*mine, *[mine[-1]] * 2])) if mine else None

    @rule(data=st.data(), which=st.integers(0, 1))
    def request(self, data: st.DataObject, which: int) -> None:
        if len(self.alive) < 2:
            self.login(self.processes[which])
        if self.sessions:
            self.an_action(data, self.processes[which])()

    @rule(data=st.data(), which=st.integers(0, 1))
    def another_request(self, data: st.DataObject, which: int) -> None:
        self.request(data, which)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), at=st.integers(1, 6))
    def two_requests_race(self, data: st.DataObject, at: int) -> None:
        """
        The second runs from beginning to end just before a tier carries out the first's n-th call.
        """
        first = self.an_action(data, self.processes[0])
        second = self.an_action(data, self.processes[1])
        with self.at_call(at, second):
            first()

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), at=st.integers(1, 4))
    def a_process_is_killed(self, data: st.DataObject, at: int) -> None:
        client = self.a_client(data, self.processes[0], self.sessions[-1])
        if client is None:
            return
        action = data.draw(st.sampled_from([self.save, self.flush]), "action")

        def die() -> None:
            raise Killed

        try:
            with self.at_call(at, die):
                action(client)
        except Killed:
            client.known.clean = False
            if client in self.clients:
                self.clients.remove(client)

    @contextmanager
    def at_call(self, number: int, action: Callable[[], Any]) -> Iterator[None]:
        left = number

        def before(name: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                action()

        earlier = self.cache.before
        self.cache.before = self.durable.before = before
        try:
            yield
        finally:
            self.cache.before = self.durable.before = earlier

    @rule(
        tier=st.sampled_from(["cache", "durable", "durable"]),
        loses_replies=st.booleans(),
        seconds=st.sampled_from([0, 1, REVALIDATE_AFTER + 1]),
    )
    def one_tier_goes_down_and_the_other_comes_back(
        self, tier: str, loses_replies: bool, seconds: int
    ) -> None:
        self.clock.now += seconds
        self.cache.up = self.durable.up = True
        store: FakeStore = getattr(self, tier)
        store.up = False
        store.loses_replies = loses_replies

    @rule(seconds=st.sampled_from([0, 1, REVALIDATE_AFTER + 1]))
    def the_tiers_come_back(self, seconds: int) -> None:
        self.clock.now += seconds
        self.cache.up = self.durable.up = True

    @rule(what=st.sampled_from(["both down", "empty cache", "repair"]))
    def something_rare(self, what: str) -> None:
        if what == "both down":
            self.cache.up = self.durable.up = False
        elif what == "repair":
            self.restore()
            for known in self.sessions:
                self.read(self.processes[0], known)
                known.clean = True
        elif not self.cache.has_unsynced:
            # What the cache took alone is lost with it: that has to be repaired before.
            self.cache.flush()
            self.cache.up = True

    def restore(self) -> None:
        self.cache.up = self.durable.up = True
        self.clock.now += REVALIDATE_AFTER + 1

    @invariant()
    def the_durable_store_alone_is_told_everything_where_it_must(self) -> None:
        if not self.either:
            assert not self.cache.has_unsynced


@pytest.mark.parametrize("either", [False, True])
def test_nothing_acknowledged_is_lost_and_nothing_ended_comes_back(either: bool) -> None:
    machine = type("Machine", (TwoTiers,), {"either": either})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=120,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
