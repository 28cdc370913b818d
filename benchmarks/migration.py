"""
`migratedesigndocs` on a database in use: how long it takes, what requests feel, and the space on
disk. `python -m benchmarks.migration --sessions 1000000`, with Apache CouchDB's `couchdb` on PATH.

Both design documents that requests and commands rely on are replaced, with their indexes. Requests
come at a fixed rate, before, meanwhile and afterwards.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.filling import fill
from benchmarks.floors.couchdb import BareCouchDB
from benchmarks.running import Servers, running_servers
from benchmarks.site import benchmark_site

REPLACED = ("distsession_expiry", "distsession_users")
THREADS = 4


@dataclass
class Traffic:
    """
    Requests of several threads: a load, or a load and a save, in turns. seconds: what each took.
    """

    keys: list[str]
    rate: float
    seconds: dict[str, list[float]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self.seconds = {"load": [], "load and save": []}

    def run(self, number: int) -> None:
        from django_distsession.backends.couchdb import SessionStore

        chance, due = random.Random(number), time.monotonic()
        while not self.is_over.is_set():
            for name in ("load", "load and save"):
                # Whoever is late does not catch up: that would be another rate.
                due = max(due + THREADS / self.rate, time.monotonic())
                time.sleep(max(due - time.monotonic(), 0))
                began = time.monotonic()
                try:
                    session = SessionStore(chance.choice(self.keys))
                    session.load_session()
                    if name != "load":
                        session["number"] = chance.random()
                        session.save()
                except Exception as error:
                    self.errors.append(type(error).__name__)
                self.seconds[name].append(time.monotonic() - began)

    def report(self, phase: str) -> None:
        for name, seconds in self.seconds.items():
            if len(seconds) > 1:
                cuts = quantiles(seconds, n=100, method="inclusive")
                print(
                    f"  {phase:10} {name:14} {len(seconds):7,} requests, p50 "
                    f"{1000 * cuts[49]:6.1f} ms, p99 {1000 * cuts[98]:7.1f} ms",
                    flush=True,
                )
        print(f"  {phase:10} errors: {len(self.errors)}", flush=True)
        self.start()


@contextmanager
def _traffic(keys: list[str], rate: float) -> Iterator[Traffic]:
    traffic = Traffic(keys, rate)
    traffic.start()
    threads = [threading.Thread(target=traffic.run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield traffic
    finally:
        traffic.is_over.set()
        for thread in threads:
            thread.join()


class Disk:
    """
    The space that a server's folder takes, watched once a second. None: it is not ours to look at.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._most = 0
        self._is_over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def now(self) -> int:
        if self._folder is None:
            return 0
        sizes = []
        for path in self._folder.rglob("*"):
            try:
                sizes.append(path.stat().st_blocks * 512)
            except OSError:
                # Gone meanwhile.
                continue
        return sum(sizes)

    def _watch(self) -> None:
        while not self._is_over.wait(1.0):
            self._most = max(self._most, self.now())

    def most(self) -> int:
        """
        Return the most that it was, and stop watching.
        """
        self._is_over.set()
        return max(self._most, self.now())


def _make_older(couchdb: BareCouchDB, database: str) -> None:
    """
    Put other documents in the place of those that are to be replaced, and build their indexes.
    """
    for name in REPLACED:
        document = couchdb.get(f"/{database}/_design/{name}")
        document["views"]["older"] = {"map": "function (doc) { emit(doc.created_at, 1); }"}
        couchdb.put(f"/{database}/_design/{name}", document)
        couchdb.wait_for_index(f"/{database}/_design/{name}/_view/older")


def run(servers: Servers, sessions: int, *, rate: float, seconds: float) -> None:
    """
    Fill, migrate and print.
    """
    from django.conf import settings
    from django.core.management import call_command

    from django_distsession.backends.couchdb import SessionStore

    settings.SESSION_ENGINE = "django_distsession.backends.couchdb"
    folder: Any = getattr(servers.couchdb, "_folder", None)
    with BareCouchDB(servers.couchdb.url) as couchdb:
        SessionStore().create()
        keys = fill(couchdb, servers.database, sessions)
        _make_older(couchdb, servers.database)
        disk = Disk(folder)
        before = disk.now()
        with _traffic(keys, rate) as traffic:
            time.sleep(seconds)
            traffic.report("before")
            began = time.monotonic()
            call_command("migratedesigndocs", force=True, verbosity=0)
            took = time.monotonic() - began
            traffic.report("meanwhile")
            time.sleep(seconds)
            traffic.report("afterwards")
        most = disk.most()
    print(
        f"{sessions:,} sessions: {took:.0f} s; {before / 2**20:,.0f} MB on disk before, "
        f"{most / 2**20:,.0f} MB at the most, {disk.now() / 2**20:,.0f} MB afterwards"
    )


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.migration")
    parser.add_argument("--sessions", type=int, default=20_000, metavar="N")
    parser.add_argument("--rate", type=float, default=40, metavar="N", help="requests a second")
    parser.add_argument("--seconds", type=float, default=20, metavar="N", help="before and after")
    options = parser.parse_args()
    with running_servers() as servers, benchmark_site(servers, None):
        run(servers, options.sessions, rate=options.rate, seconds=options.seconds)


if __name__ == "__main__":
    _main()
