"""
What one session costs: bytes in memcached and on CouchDB's disk, bytes on the network and CPU per
request. `python -m benchmarks.unit_costs`, with Apache CouchDB's `couchdb` on PATH for its figures.

Of each server's bytes what it held before is taken off, and the rest divided by the sessions.
"""

from __future__ import annotations

import argparse
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.test import override_settings

from benchmarks.counting_relay import CountingRelay
from benchmarks.filling import SIZES, contents, fill
from benchmarks.floors.couchdb import BareCouchDB
from benchmarks.running import Servers, running_servers
from benchmarks.site import benchmark_site, close_stores
from testproject.servers import MemcachedNode

# How many sessions are changed, and how often each.
CHANGED, UPDATES = 100, 20
REVS_LIMITS = (1000, 20)
DESIGNS = ("distsession_expiry", "distsession_users", "distsession_statistics")


def _print(what: str, **figures: float) -> None:
    told = ", ".join(f"{name.replace('_', ' ')} {value:,.0f}" for name, value in figures.items())
    print(f"{what}: {told}", flush=True)


@contextmanager
def _settings(**sections: Any) -> Iterator[None]:
    from django.conf import settings

    with override_settings(DISTSESSION={**settings.DISTSESSION, **sections}):
        close_stores()
        yield
    close_stores()


# memcached


def _stats(address: str, kind: str = "") -> dict[str, float]:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as server, server.makefile("rb") as lines:
        server.sendall(f"stats {kind}".strip().encode() + b"\r\n")
        told = [line.split() for line in iter(lines.readline, b"END\r\n")]
    # What is no number, such as the version, is left out.
    numbers = [row for row in told if row[2].replace(b".", b"", 1).isdigit()]
    return {row[1].decode(): float(row[2]) for row in numbers}


def _slab_bytes(address: str) -> float:
    """
    Return the bytes of the chunks in use: items, and what their chunks are larger than they.
    """
    slabs = _stats(address, "slabs")
    return sum(
        slabs[name] * slabs[name.replace("chunk_size", "used_chunks")]
        for name in slabs
        if name.endswith(":chunk_size")
    )


def memcached(count: int) -> None:
    """
    Print what a session costs on one memcached server, for each size.
    """
    from django_distsession.backends.memcached import SessionStore

    for size in SIZES:
        with (
            MemcachedNode() as node,
            _settings(MEMCACHED={"SERVERS": [node.address], "REPLICAS": 1}),
        ):
            address = node.address
            before, used = _stats(address), _slab_bytes(address)
            keys = [_stored(SessionStore, size) for _ in range(count)]
            held = _stats(address)["bytes"] - before["bytes"]
            _print(
                f"memcached, {size} session, bytes per replica",
                item=held / count,
                with_its_chunk=(_slab_bytes(address) - used) / count,
            )
            for name, request in _requests(SessionStore).items():
                asked = _stats(address)
                cpu = _per_request(request, keys)
                answered = _stats(address)
                _print(
                    f"memcached, {size} session, {name}, per replica",
                    bytes_to_it=(answered["bytes_read"] - asked["bytes_read"]) / count,
                    bytes_from_it=(answered["bytes_written"] - asked["bytes_written"]) / count,
                    microseconds_of_CPU_here=cpu,
                    of_CPU_there=1e6 * (_cpu(answered) - _cpu(asked)) / count,
                )


def _cpu(stats: dict[str, float]) -> float:
    return stats["rusage_user"] + stats["rusage_system"]


def _stored(sessions: Any, size: str) -> str:
    session = sessions()
    session.update(contents(size))
    session.save()
    return str(session.session_key)


def _requests(sessions: Any) -> dict[str, Callable[[str], object]]:
    def read(key: str) -> object:
        return sessions(key)["_auth_user_id"]

    def change(key: str) -> None:
        session = sessions(key)
        session["number"] = session.get("number", 0) + 1
        session.save()

    return {"read": read, "read and change": change}


def _per_request(request: Callable[[str], object], keys: list[str]) -> float:
    """
    Return the microseconds of this thread's CPU per request.
    """
    began = time.thread_time()
    for key in keys:
        request(key)
    return 1e6 * (time.thread_time() - began) / len(keys)


# CouchDB


def couchdb(servers: Servers, count: int) -> None:
    """
    Print what a session costs in CouchDB.
    """
    for size in SIZES:
        with _settings(), BareCouchDB(servers.couchdb.url) as bare:
            _on_disk(bare, servers.database, count, size)
    with _settings(), BareCouchDB(servers.couchdb.url) as bare:
        _revisions(bare, servers.database)
    url = urlsplit(servers.couchdb.url)
    with CountingRelay((url.hostname or "", url.port or 0)) as relay:
        login = url.netloc.rpartition("@")[0] + "@" if "@" in url.netloc else ""
        there = urlunsplit(url._replace(netloc=f"{login}127.0.0.1:{relay.port}"))
        with _settings(COUCHDB={"URL": there, "DATABASE": servers.database}):
            _on_the_way(relay, count)


def _on_disk(bare: BareCouchDB, database: str, count: int, size: str) -> None:
    from django_distsession.backends.couchdb import SessionStore

    bare.delete(f"/{database}")
    SessionStore().create()
    empty = bare.get(f"/{database}").get("sizes")
    if empty is None:
        print("couchdb: this server does not tell sizes.", flush=True)
        return
    keys = fill(bare, database, count, size)

    def per_session(what: str) -> None:
        sizes = bare.get(f"/{database}")["sizes"]
        figures = {name: (sizes[name] - empty[name]) / count for name in ("file", "active")}
        _print(f"couchdb, {size} session, bytes on disk {what}", **figures)

    per_session("as stored in bulk")
    stored = bare.get(f"/{database}")["sizes"]["file"]
    for key in keys[:CHANGED]:
        for _ in range(UPDATES):
            _requests(SessionStore)["read and change"](key)
    added = bare.get(f"/{database}")["sizes"]["file"] - stored
    changes = UPDATES * len(keys[:CHANGED])
    _print(f"couchdb, {size} session, bytes on disk that a change adds", file=added / changes)
    _compact(bare, database)
    per_session(f"after {UPDATES} changes of {CHANGED} and compaction")
    for design in DESIGNS:
        view = next(iter(bare.get(f"/{database}/_design/{design}")["views"]))
        bare.wait_for_index(f"/{database}/_design/{design}/_view/{view}")
        built = bare.get(f"/{database}/_design/{design}/_info")["view_index"]["sizes"]
        figures = {name: built[name] / count for name in ("file", "active")}
        _print(f"couchdb, {size} session, bytes of the index {design}", **figures)


def _revisions(bare: BareCouchDB, database: str) -> None:
    """
    Print what is left of a session that was changed often, by how many revisions are remembered.
    """
    from django_distsession.backends.couchdb import SessionStore

    for limit in REVS_LIMITS:
        bare.delete(f"/{database}")
        SessionStore().create()
        empty = bare.get(f"/{database}").get("sizes")
        if empty is None:
            return
        bare.put(f"/{database}/_revs_limit", limit)
        (key,) = fill(bare, database, 1)
        for _ in range(max(REVS_LIMITS)):
            _requests(SessionStore)["read and change"](key)
        _compact(bare, database)
        left = bare.get(f"/{database}")["sizes"]["active"] - empty["active"]
        _print(
            f"couchdb, small session, changed {max(REVS_LIMITS)} times, compacted, "
            f"_revs_limit {limit}",
            bytes_on_disk=left,
        )


def _compact(bare: BareCouchDB, database: str) -> None:
    bare.post(f"/{database}/_compact", {})
    while bare.get(f"/{database}").get("compact_running"):
        time.sleep(0.1)


def _on_the_way(relay: CountingRelay, count: int) -> None:
    from django_distsession.backends.couchdb import SessionStore

    keys = [_stored(SessionStore, "small") for _ in range(min(count, 500))]
    for name, request in _requests(SessionStore).items():
        sent, received = relay.sent, relay.received
        cpu = _per_request(request, keys)
        _print(
            f"couchdb, small session, {name}",
            bytes_to_it=(relay.sent - sent) / len(keys),
            bytes_from_it=(relay.received - received) / len(keys),
            microseconds_of_CPU_here=cpu,
        )


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unit_costs")
    parser.add_argument("--sessions", type=int, default=5000, metavar="N")
    options = parser.parse_args()
    with running_servers() as servers, benchmark_site(servers, None):
        memcached(options.sessions)
        couchdb(servers, options.sessions)


if __name__ == "__main__":
    _main()
