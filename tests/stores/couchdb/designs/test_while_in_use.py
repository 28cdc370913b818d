"""
A migration while sites work on the same database.

DISTSESSION_TEST_SESSIONS says how many sessions there are; 20,000 take a while.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from django_distsession.backends.couchdb import SessionStore
from django_distsession.stores.couchdb.client import Client
from django_distsession.stores.couchdb.designs import Design
from django_distsession.stores.couchdb.designs.migration import Migration, Watcher
from django_distsession.stores.garbage import GCOptions
from tests.stores.couchdb.designs.conftest import Database, raised

NUMBER = int(os.environ.get("DISTSESSION_TEST_SESSIONS", "400"))
EXPIRED = NUMBER // 2


class Sites:
    """
    Two threads that ask for the sessions of a user, and two that remove expired ones, a few at a
    time, until `stop`.
    """

    def __init__(self, sessions: type[SessionStore]) -> None:
        self._sessions = sessions
        self._stopped = threading.Event()
        self._rounds = threading.Condition()
        self.rounds = dict.fromkeys(range(4), 0)
        self.answers: list[int] = []
        self.purged = 0
        self.skipped = 0
        self.failures: list[BaseException] = []
        works: list[Callable[[], None]] = [self._ask, self._clear]
        self._threads = [
            threading.Thread(target=self._work, args=(number, works[number % 2]))
            for number in self.rounds
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, number: int, work: Callable[[], None]) -> None:
        try:
            while not self._stopped.is_set():
                work()
                with self._rounds:
                    self.rounds[number] += 1
                    self._rounds.notify_all()
        except BaseException as error:
            with self._rounds:
                self.failures.append(error)
                self._rounds.notify_all()

    def _ask(self) -> None:
        self.answers.append(len(self._sessions.for_user("7")))

    def _clear(self) -> None:
        cleared = self._sessions.clear_expired(GCOptions(5, 10))
        with self._rounds:
            self.purged += cleared.purged + cleared.deleted
            self.skipped += cleared.skipped

    def let_work(self) -> None:
        """
        Return when each thread has done its work from beginning to end, at least once.
        """
        with self._rounds:
            wanted = {number: rounds + 2 for number, rounds in self.rounds.items()}
            self._rounds.wait_for(
                lambda: self.failures or all(self.rounds[n] >= wanted[n] for n in wanted),
                timeout=120,
            )

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()


class WithSites(Watcher):
    """
    Lets the sites work between all steps.
    """

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    def step(self, text: str) -> None:
        self._sites.let_work()


def test_sites_work_while_their_documents_are_replaced(
    sessions: type[SessionStore],
    client: Client,
    database: Database,
    bundled: tuple[Design, ...],
) -> None:
    Migration(client, bundled).run()
    database.fill(NUMBER, expired=EXPIRED)
    live = NUMBER - EXPIRED
    assert len(sessions.for_user("7")) == live
    newer = [raised(design) for design in bundled]
    sites = Sites(sessions)
    try:
        sites.let_work()
        Migration(client, newer, watcher=WithSites(sites)).run()
        sites.let_work()
    finally:
        sites.stop()
    assert sites.failures == []
    assert all(rounds > 5 for rounds in sites.rounds.values())
    # Expired sessions are no answer, whether or not they are removed yet.
    assert set(sites.answers) == {live}
    assert database.versions() == {design.name: design.version for design in newer}
    # The sessions that expired are all accounted for: none was forgotten by an index.
    rest = sessions.clear_expired()
    assert sites.purged + rest.purged + rest.deleted == EXPIRED
    after = database.designs()
    old_code = Migration(client, bundled)
    assert old_code.plan().is_done
    old_code.run()
    assert database.designs() == after
