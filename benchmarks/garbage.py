"""
Garbage collection of the CouchDB engine, against bare view and `_purge` calls of the same size.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from uuid import uuid4

from benchmarks.floors.couchdb import BareCouchDB
from benchmarks.ratios import Verdict

AT_MOST = 1.3
LABEL = "garbage collection: couchdb / bare view and _purge"
# What every CouchDB 3 takes in one _purge.
BATCH = 100
# Each round fills the database twice.
MOST_ROUNDS = 5
# Long past any grace.
EXPIRED = 1000

VIEW = "_design/distsession_expiry/_view/by_expiry"
QUERY = f"reduce=false&endkey={EXPIRED}"


def measure(url: str, database: str, *, rounds: int, batch: int) -> Verdict | None:
    """
    Return how the times compare; None where the server cannot purge.
    """
    from django_distsession.backends.couchdb import SessionStore
    from django_distsession.stores.garbage import GCOptions

    sessions = BATCH * max(2, min(batch, 20))
    options = GCOptions(batch_size=BATCH)
    ours: list[float] = []
    bare: list[float] = []
    with BareCouchDB(url) as couchdb:
        SessionStore().create()
        for _ in range(max(1, min(rounds, MOST_ROUNDS))):
            _fill(couchdb, database, sessions)
            ours.append(_timed(lambda: SessionStore.clear_expired(options)))
            _fill(couchdb, database, sessions)
            if not couchdb.can_purge(database):
                return None
            bare.append(_timed(lambda: _collect(couchdb, database)))
    return Verdict(LABEL, median(ours) / median(bare), AT_MOST)


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
        "expires_at": EXPIRED,
        "ended": False,
        "data": "",
    }
    documents = [{"_id": uuid4().hex * 2, **document} for _ in range(sessions)]
    couchdb.post(f"/{database}/_bulk_docs", {"docs": documents})
    # The index is brought up to date before either side is measured.
    couchdb.get(f"/{database}/{VIEW}?{QUERY}&limit=1")


def _collect(couchdb: BareCouchDB, database: str) -> None:
    while True:
        rows = couchdb.get(f"/{database}/{VIEW}?{QUERY}&limit={BATCH}")["rows"]
        if not rows:
            return
        # The view tells all leaves of a document; these have one.
        leaves = {row["id"]: row["value"][0] for row in rows}
        couchdb.post(f"/{database}/_purge", leaves)
