"""
`repairsessions` where nothing differs, against the repair of one session after the other, and
against bare sockets that read every copy in one pipeline per server, and compare.

As a script it prints rates and memory: `python -m benchmarks.repair --sessions 100000 --differing
0.1`. Everything is on three servers with two replicas.
"""

from __future__ import annotations

import argparse
import io
import random
import resource
import socket
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any
from urllib.parse import unquote_to_bytes

from benchmarks.filling import contents
from benchmarks.ratios import Verdict
from benchmarks.running import running_servers
from benchmarks.site import benchmark_site

AT_MOST = 0.2
LABEL = "repairsessions where nothing differs / repair of one session after the other"
LABEL_OF_BARE = "repairsessions where nothing differs / bare sockets, pipelined"
# In a run beside others.
SESSIONS = 40
MOST_ROUNDS = 5
# How many keys the bare sockets ask for at a time.
AT_ONCE = 64


def measure(addresses: Sequence[str], *, rounds: int, batch: int) -> list[Verdict]:
    """
    Return how the times compare.
    """
    _fill(SESSIONS * batch)
    ways: dict[str, Callable[[], object]] = {
        "ours": _command,
        "singly": _one_by_one,
        "bare": lambda: _bare(addresses),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(max(1, min(rounds, MOST_ROUNDS))):
        for name, compare in ways.items():
            times[name].append(_timed(compare))
    ours, singly, bare = (median(some) for some in times.values())
    return [Verdict(LABEL, ours / singly, AT_MOST), Verdict(LABEL_OF_BARE, ours / bare, None)]


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _engine() -> Any:
    from django_distsession.backends.memcached import SessionStore

    return SessionStore


def _fill(sessions: int) -> None:
    for _ in range(sessions):
        session = _engine()()
        session.update(contents())
        session.save()


def _command() -> None:
    from django.conf import settings
    from django.core.management import call_command

    settings.SESSION_ENGINE = "django_distsession.backends.memcached"
    call_command("repairsessions", stdout=io.StringIO(), no_progress=True)


def _one_by_one() -> None:
    store = _engine().get_store()
    for node in store.nodes:
        with store.list_ids(node) as ids:
            for storage_id in ids:
                store.repair(storage_id, node)


def _bare(addresses: Sequence[str]) -> None:
    """
    Read the keys of all servers and then each copy's value, so many at a time, and compare.
    """
    prefix = _engine().get_store()._prefix
    values: dict[bytes, bytes] = {}
    differing = 0
    for address in addresses:
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port))) as server, server.makefile("rb") as lines:
            server.sendall(b"lru_crawler metadump hash\r\n")
            listed = iter(lines.readline, b"END\r\n")
            found = [unquote_to_bytes(line[4:].split(b" ", 1)[0]) for line in listed]
            keys = [key for key in found if key.startswith(prefix)]
            for start in range(0, len(keys), AT_ONCE):
                server.sendall(b"".join(b"mg %b v\r\n" % key for key in keys[start:][:AT_ONCE]))
                for key in keys[start : start + AT_ONCE]:
                    value = lines.read(int(lines.readline()[3:]) + 2)
                    differing += values.setdefault(key, value) != value
    assert not differing


def _lose(part: float) -> int:
    """
    Take one copy from a part of the sessions, and return of how many.
    """
    store, lost, chance = _engine().get_store(), 0, random.Random(1)
    for node in store.nodes:
        with store.list_ids(node) as ids:
            for storage_id in ids:
                first = store._replica_set(storage_id).replicas[0]
                if node is first and chance.random() < part:
                    found = store.get(storage_id)
                    store._replica_set(storage_id).deleting(
                        type(found.token)({node: found.token[node]}), store._until()
                    ).perform()
                    lost += 1
    return lost


def print_rates(addresses: Sequence[str], sessions: int, part: float) -> None:
    """
    Print how many sessions a second are compared, where a part of them lacks a copy and where none
    does.
    """
    _fill(sessions)
    if part:
        print(f"{_lose(part):,} of {sessions:,} sessions lack a copy:")
        _print_rate("repairsessions", _command, sessions)
    print(f"{sessions:,} sessions, nothing differs:")
    _print_rate("repairsessions", _command, sessions)
    _print_rate("one by one", _one_by_one, sessions)
    _print_rate("bare sockets", lambda: _bare(addresses), sessions)


def _print_rate(name: str, call: Callable[[], object], sessions: int) -> None:
    seconds = _timed(call)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"  {name:15} {seconds:6.1f} s  {sessions / seconds:9,.0f} sessions a second; "
        f"this process has taken {memory} MB at the most",
        flush=True,
    )


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repair")
    parser.add_argument("--sessions", type=int, default=100_000, metavar="N")
    parser.add_argument("--differing", type=float, default=0.1, metavar="PART")
    options = parser.parse_args()
    with running_servers() as servers, benchmark_site(servers, None):
        print_rates(servers.addresses, options.sessions, options.differing)


if __name__ == "__main__":
    _main()
