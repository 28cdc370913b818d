"""
Print what users suffer when a second server fails while others still believe the first one down.

    python -m benchmarks.double_fault [--sessions 120] [--engine NAME ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.double_fault.scenario import Harm, Scenario
from benchmarks.double_fault.sites import CASES, ENGINES, site
from testproject.servers import CouchDBServer, couchdb_server, memcached_nodes
from testproject.workers import running_workers

NODES = 3


def main() -> None:
    given = parse()
    print(f"{given.workers} processes, {given.sessions} sessions, {given.gap} s between the faults")
    print(f"{'':<27}requests  errors   stale  logged in again  logged out")
    harmed = False
    with couchdb_if_needed(given.engine) as couchdb:
        for engine, kind in CASES:
            if engine not in given.engine:
                continue
            harm = measure(engine, kind, couchdb, given)
            harmed |= any(harm.counts)
            errors, stale, again, out = harm.counts
            print(
                f"{engine:<11}{kind:<16}{harm.requests:8}{errors:8}{stale:8}{again:17}{out:12}",
                flush=True,
            )
            for error in sorted(set(harm.errors))[: given.show_errors]:
                print(f"    {error}")
    raise SystemExit(harmed)


def measure(
    engine: str, kind: str, couchdb: CouchDBServer | None, given: argparse.Namespace
) -> Harm:
    with (
        memcached_nodes(NODES) as nodes,
        site(engine, kind, nodes, couchdb, given.timeout) as where,
        running_workers(given.workers, quiet=True) as workers,
    ):
        return Scenario(workers, where).run(given.sessions, given.gap)


@contextmanager
def couchdb_if_needed(engines: list[str]) -> Iterator[CouchDBServer | None]:
    if engines == ["memcached"]:
        yield None
    else:
        with couchdb_server() as running:
            yield running


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.double_fault", description=__doc__)
    parser.add_argument("--engine", action="append", choices=ENGINES, help="may be repeated")
    parser.add_argument("--sessions", type=int, default=120)
    parser.add_argument("--workers", type=int, default=3, help="processes")
    parser.add_argument("--timeout", type=float, default=0.5, help="of all servers, in seconds")
    parser.add_argument("--gap", type=float, default=0.3, help="seconds between the two faults")
    parser.add_argument("--show-errors", type=int, default=0, metavar="N", help="N of each case")
    given = parser.parse_args()
    given.engine = given.engine or list(ENGINES)
    return given


if __name__ == "__main__":
    main()
