"""
Garbage collection of the CouchDB engine, against bare view and `_purge` calls of the same size: on
an index that is brought up to date once, and before each batch.

As a script it prints rates: `python -m benchmarks.garbage --sessions 20000 200000`. Before that,
the index is up to date. What CouchDB does with it afterwards is printed too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from uuid import uuid4

from benchmarks.floors.couchdb import BareCouchDB
from benchmarks.ratios import Verdict
from benchmarks.running import Servers, running_servers
from benchmarks.site import benchmark_site

AT_MOST = 1.3
LABEL = "garbage collection: couchdb / bare view and _purge"
AT_MOST_OF_FRESH = 0.6
LABEL_OF_FRESH = "garbage collection: couchdb / bare, index up to date for each batch"
# What every CouchDB 3 takes in one _purge.
BATCH = 100
# Each round fills the database three times.
MOST_ROUNDS = 5
# Long past any grace.
EXPIRED = 1000

VIEW = "_design/distsession_expiry/_view/by_expiry"
QUERY = "reduce=false&endkey=1000000000"

# How many documents are stored by one request, and how many expire in the same second.
AT_ONCE = 2000
PER_SECOND = 10


def measure(url: str, database: str, *, rounds: int, batch: int) -> list[Verdict]:
    """
    Return how the times compare; nothing where the server cannot purge.
    """
    from django_distsession.backends.couchdb import SessionStore
    from django_distsession.stores.garbage import GCOptions

    sessions = BATCH * max(2, min(batch, 20))
    options = GCOptions(batch_size=BATCH)
    times: dict[str, list[float]] = {"ours": [], "bare": [], "fresh": []}
    with BareCouchDB(url) as couchdb:
        SessionStore().create()
        if not couchdb.can_purge(database):
            return []
        ways: dict[str, Callable[[], object]] = {
            "ours": lambda: SessionStore.clear_expired(options),
            "bare": lambda: _collect(couchdb, database),
            "fresh": lambda: _collect(couchdb, database, "true"),
        }
        for _ in range(max(1, min(rounds, MOST_ROUNDS))):
            for name, collect in ways.items():
                _fill(couchdb, database, sessions)
                times[name].append(_timed(collect))
    ours, bare, fresh = (median(some) for some in times.values())
    return [
        Verdict(LABEL, ours / bare, AT_MOST),
        Verdict(LABEL_OF_FRESH, ours / fresh, AT_MOST_OF_FRESH),
    ]


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _fill(couchdb: BareCouchDB, database: str, sessions: int) -> None:
    document = {
        "type": "session",
        "version": [1, "benchmrk"],
        "user": None,
        "created_at": EXPIRED,
        "updated_at": EXPIRED,
        "ended": False,
        "data": "",
    }
    for start in range(0, sessions, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, sessions))
        documents = [
            {"_id": uuid4().hex * 2, **document, "expires_at": EXPIRED + number // PER_SECOND}
            for number in numbers
        ]
        couchdb.post(f"/{database}/_bulk_docs", {"docs": documents})
    # The index is brought up to date before either side is measured.
    couchdb.wait_for_index(f"/{database}/{VIEW}")


def _collect(couchdb: BareCouchDB, database: str, update: str = "false") -> None:
    after = ""
    while True:
        query = f"{QUERY}&limit={BATCH}&update={update}{after}"
        rows = couchdb.get(f"/{database}/{VIEW}?{query}")["rows"]
        if not rows:
            return
        # The view tells all leaves of a document; these have one.
        leaves = {row["id"]: row["value"][0] for row in rows}
        couchdb.post(f"/{database}/_purge", leaves)
        if update == "false":
            after = f"&startkey={rows[-1]['key']}&startkey_docid={rows[-1]['id']}%00"


def print_rates(servers: Servers, sizes: list[int], *, only_ours: bool) -> None:
    """
    Print how many sessions a second are collected, of so many.
    """
    from django_distsession.backends.couchdb import SessionStore

    database = servers.database
    with BareCouchDB(servers.couchdb.url) as couchdb:
        SessionStore().create()
        if not couchdb.can_purge(database):
            raise SystemExit("This server cannot purge.")
        ways: dict[str, Callable[[], object]] = {
            "clear_expired": SessionStore.clear_expired,
            "bare, update=false": lambda: _collect(couchdb, database),
            "bare, update=true": lambda: _collect(couchdb, database, "true"),
        }
        for size in sizes:
            for name, collect in list(ways.items())[: 1 if only_ours else None]:
                _fill(couchdb, database, size)
                seconds = _timed(collect)
                rest = _timed(lambda: couchdb.wait_for_index(f"/{database}/{VIEW}"))
                print(
                    f"{size:>9,} sessions  {name:20} {size / seconds:7,.0f} a second; "
                    f"{rest:.1f} s until the index is up to date",
                    flush=True,
                )


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.garbage")
    parser.add_argument("--sessions", type=int, nargs="+", default=[20000], metavar="N")
    parser.add_argument("--only-ours", action="store_true", help="leave out bare calls")
    options = parser.parse_args()
    with running_servers() as servers, benchmark_site(servers, None):
        print_rates(servers, options.sessions, only_ours=options.only_ours)


if __name__ == "__main__":
    _main()
