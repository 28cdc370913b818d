"""
Histories of several clients, outages and crashes, made up by Hypothesis and held against a model.

On servers in this process (`cluster`), because what matters most cannot be brought about at will
on real ones: a write that takes effect after its sender gave up, a save that reaches one replica
and not the other, another request in between. `test_faults` runs the same kinds of outages on real
nodes.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.test import override_settings
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

from django_distsession.backends import saving
from django_distsession.backends.memcached import SessionStore
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.memcached import reconciler

from .cluster import Cluster, Crash, FakeServer

CLIENTS = 3
KEYS = ("a", "b", "c")

clients = st.integers(0, CLIENTS - 1)
keys = st.sampled_from(KEYS)

ABSENT = None
# What a save may have left: the values of which one must be there, ABSENT for a removed key.
Values = set[Any]


class Histories(RuleBasedStateMachine):
    """
    One session, several web processes. `certain`: for each key, what may be read. It becomes one
    value when a save is acknowledged or somebody has read it; concurrent saves leave a choice.

    `rumoured`: for each key, what was sent by saves that were never acknowledged.
    """

    servers: ClassVar[int]
    quorum: ClassVar[int]
    # Servers that are only imagined keep nobody waiting, however busy the machine is.
    timeout: ClassVar[float] = 60.0

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster({server.name: server for server in self.make_servers()})
        names = list(self.cluster.servers)
        self.overrides = override_settings(
            SESSION_ENGINE="django_distsession.backends.memcached",
            DISTSESSION={
                "NAMESPACE": "t",
                "MEMCACHED": {
                    "SERVERS": names,
                    "REPLICAS": self.servers,
                    "QUORUM": self.quorum,
                    "TIMEOUT": self.timeout,
                    "RETRY_AFTER": 0.02,
                },
            },
        )
        self.overrides.enable()
        self.patch = pytest.MonkeyPatch()
        self.replace_exchanges()
        self.patch.setattr(reconciler, "LONGEST_PAUSE", 0)
        self.patch.setattr(saving, "delay", lambda attempt: 0.0)
        self.processes: list[Any] = [
            type(f"Process{number}", (SessionStore,), {}) for number in range(CLIENTS)
        ]
        self.replace_breakers()
        self.open: dict[int, SessionStore] = {}
        self.certain: dict[str, Values] = {}
        self.rumoured: dict[str, Values] = {}
        self.ended: bool | None = False
        self.value = 0
        # Overlapping requests, innermost last: what others acknowledged meanwhile.
        self.overlapping: list[dict[str, Values]] = []
        self.faulty: str | None = None
        self.lost_data = False

    def make_servers(self) -> list[FakeServer]:
        return [FakeServer(f"127.0.0.1:{port}") for port in range(1, self.servers + 1)]

    def replace_breakers(self) -> None:
        for number, process in enumerate(self.processes):
            for node in process.get_store().nodes:
                self.cluster.owned_by(number, node)

    def replace_exchanges(self) -> None:
        self.cluster.replace_exchanges(self.patch)

    def teardown(self) -> None:
        self.patch.undo()
        self.overrides.disable()

    @initialize()
    def begin(self) -> None:
        session = self.processes[0]()
        session["a"] = 0
        session.save()
        self.key = session.session_key or ""
        self.certain = {"a": {0}, "b": {ABSENT}, "c": {ABSENT}}
        self.rumoured = {key: set() for key in KEYS}
        self.open.clear()
        self.ended = False

    @precondition(lambda self: self.ended and self.faulty is None and not self.cluster.passed_by)
    @rule()
    def begin_again(self) -> None:
        self.begin()

    # Requests.

    @precondition(lambda self: not self.ended)
    @rule(client=clients)
    def load(self, client: int) -> None:
        """
        A request begins, and takes its time.
        """
        session = self.processes[client](self.key)
        if self._read(session):
            self.open[client] = session

    @rule(client=clients)
    def read(self, client: int) -> None:
        self._read(self.processes[client](self.key))

    @precondition(lambda self: self.open)
    @rule(key=keys, remove=st.booleans(), data=st.data())
    def save_what_was_loaded(self, key: str, remove: bool, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(sorted(self.open)))
        self._save(self.open.pop(client), key, remove)

    @rule(client=clients, key=keys, remove=st.booleans())
    def load_and_save(self, client: int, key: str, remove: bool) -> None:
        session = self.processes[client](self.key)
        if self._read(session):
            self._save(session, key, remove)

    @rule(client=clients, other=clients, key=keys, others_key=keys)
    def save_while_another_saves(self, client: int, other: int, key: str, others_key: str) -> None:
        if client == other:
            return
        self.cluster.interruption = lambda: self.load_and_save(other, others_key, False)
        self.load_and_save(client, key, False)
        self.cluster.interruption = None

    @rule(client=clients, key=keys, after=st.integers(0, 4))
    def process_is_killed_while_saving(self, client: int, key: str, after: int) -> None:
        session = self.processes[client](self.key)
        if self._read(session):
            self.cluster.crash_after = after
            self._save(session, key, False)
            self.cluster.crash_after = None

    @precondition(lambda self: self.ended is False)
    @rule(client=clients, luck=st.integers(0, 9))
    def log_out(self, client: int, luck: int) -> None:
        # Seldom, for little can happen to a session after it.
        if luck:
            return
        try:
            self.processes[client](self.key).flush()
        except StoreUnavailable:
            self._unavailable()
            self.ended = None
        else:
            self.ended = True

    # Faults.

    @precondition(lambda self: self.victims("up"))
    @rule(data=st.data())
    def hang(self, data: st.DataObject) -> None:
        server = data.draw(st.sampled_from(self.victims("up")))
        self.faulty = server.name
        server.condition = "hung"

    @precondition(lambda self: self.victims("hung"))
    @rule(data=st.data())
    def wake(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.victims("hung"))).wake()

    @precondition(lambda self: self.faulty is None)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        server = data.draw(st.sampled_from(self.victims("up")))
        self.faulty = server.name
        self.lost_data = True
        server.die()

    @precondition(lambda self: self.lost_data)
    @rule()
    def start_dead_server(self) -> None:
        for server in self.cluster.servers.values():
            if server.condition == "dead":
                server.condition = "up"

    @precondition(lambda self: self.victims("up"))
    @rule(data=st.data())
    def reply_is_lost(self, data: st.DataObject) -> None:
        """
        The next client gives up on a server that did as it was asked.
        """
        server = data.draw(st.sampled_from(self.victims("up")))
        self.faulty = server.name
        server.mute = True

    @precondition(lambda self: self.victims("up") + self.victims("hung"))
    @rule(client=clients, data=st.data())
    def client_takes_servers_for_down(self, client: int, data: st.DataObject) -> None:
        victims = [server.name for server in self.victims("up") + self.victims("hung")]
        names = data.draw(st.sets(st.sampled_from(victims), min_size=1, max_size=self.quorum))
        self.faulty = min(names)
        self.cluster.passed_by |= {(client, name) for name in names}

    @precondition(lambda self: self.cluster.passed_by)
    @rule(client=clients)
    def client_finds_servers_again(self, client: int) -> None:
        self.cluster.passed_by = {pair for pair in self.cluster.passed_by if pair[0] != client}

    @precondition(lambda self: self.faulty)
    @rule()
    def repair(self) -> None:
        """
        All servers answer, all clients know, and `repairsessions` runs.
        """
        for server in self.cluster.servers.values():
            if server.condition == "hung":
                server.wake()
            server.condition, server.mute = "up", False
        self.cluster.passed_by.clear()
        process = self.processes[0]
        process.get_store().repair(process.storage_id(self.key) or "")
        self.faulty, self.lost_data = None, False

    @invariant()
    def nothing_is_left_over(self) -> None:
        assert self.cluster.interruption is None
        assert self.cluster.crash_after is None

    # The model.

    def victims(self, condition: str) -> list[FakeServer]:
        """
        The servers in this condition to which more may happen while the guarantee holds.
        """
        return [
            server
            for server in self.cluster.servers.values()
            if server.condition == condition and self.may_suffer(server.name)
        ]

    def may_suffer(self, name: str) -> bool:
        """
        One fault at a time; what slept through it wakes up with what it had.
        """
        return self.faulty in (None, name) and not self.lost_data

    def _unavailable(self) -> None:
        raise AssertionError("A request failed.")

    def _read(self, session: SessionStore) -> bool:
        before = {key: set(values) for key, values in self.certain.items()}
        try:
            seen = dict(session.items())
        except StoreUnavailable:
            self._unavailable()
            return False
        if session.session_key is None:
            assert self.ended is not False, "The session is lost."
            self.ended = True
            return False
        assert self.ended is not True, "The session was ended."
        # Where its end is but a rumour, it may still come true.
        for key in KEYS:
            value = seen.get(key, ABSENT)
            possible = self.certain[key] | self.rumoured[key]
            if before[key] == self.certain[key]:
                assert value in possible, f"{key} is {value}, not one of {possible}."
                self.certain[key] = {value}
            else:
                # Another request changed it while this one read: it may have come too late.
                assert value in possible | before[key]
        return True

    def _save(self, session: SessionStore, key: str, remove: bool) -> None:
        self.value += 1
        value = ABSENT if remove else self.value
        if remove and key not in session:
            # No change: nothing is written, and nothing can be told from how it goes.
            return
        if remove:
            session.pop(key, None)
        else:
            session[key] = value
        meanwhile: dict[str, Values] = {}
        self.overlapping.append(meanwhile)
        try:
            session.save()
        except UpdateError:
            assert self.ended is not False, "The session is lost."
            self.ended = True
        except StoreUnavailable:
            self._unavailable()
            self.rumoured[key].add(value)
        except Crash:
            self.rumoured[key].add(value)
        else:
            assert self.ended is not True, "A save revived the session."
            self._acknowledge(key, value, meanwhile)
        finally:
            self.overlapping.pop()

    def _acknowledge(self, key: str, value: Any, meanwhile: dict[str, Values]) -> None:
        # Of saves that overlap, either may have been the last.
        self.certain[key] = {value} | meanwhile.get(key, set())
        for outer in self.overlapping[:-1]:
            outer.setdefault(key, set()).update(self.certain[key])


class TwoReplicas(Histories):
    """
    REPLICAS 2, QUORUM 1: one fault of any kind at a time, repaired before the next.
    """

    servers = 2
    quorum = 1


class ThreeReplicas(Histories):
    """
    REPLICAS 3, QUORUM 2: servers hang, and replies are lost, anywhere and at any time, so clients
    disagree about who is up; one server may lose its data if the others are whole meanwhile.

    Requests may fail, for two servers may be out of reach; nothing else may happen.
    """

    servers = 3
    quorum = 2

    def may_suffer(self, name: str) -> bool:
        return not self.lost_data

    def _unavailable(self) -> None:
        pass


@pytest.mark.parametrize("machine", [TwoReplicas, ThreeReplicas])
def test_no_history_loses_or_revives_anything(machine: type[Histories]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=120,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
