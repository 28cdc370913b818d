"""
What happens on many memcached servers: how evenly sessions lie, what the loss of a server leaves,
and what moves when servers are added, removed or replaced one after the other.

By the package's own placement, on a sample of storage ids that stands for all of them:
`python -m benchmarks.simulation --sessions 100000000 --servers 12`. Rates and sizes are those that
`benchmarks.repair` and `benchmarks.unit_costs` print; give your own where they differ.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django_distsession.stores.memcached.placement import Placement

SEED = 1996


@dataclass(frozen=True, slots=True)
class Cluster:
    """
    servers: their names. replicas: of each session.
    """

    servers: tuple[str, ...]
    replicas: int

    def place(self, storage_ids: Sequence[str]) -> list[frozenset[str]]:
        """
        Return for each session which servers hold it.
        """
        placement = Placement(self.servers, self.replicas)
        return [
            frozenset(self.servers[index] for index in placement.replica_set(storage_id))
            for storage_id in storage_ids
        ]


@dataclass(frozen=True, slots=True)
class Move:
    """
    What a change of servers makes of a sample. copies: how many copies lie on another server
    afterwards, per session. ideal: the least that there can be. orphans: sessions of which no
    server has a copy that is asked for them afterwards.
    """

    copies: float
    ideal: float
    orphans: int


def sample(size: int, seed: int = SEED) -> list[str]:
    """
    Return storage ids as SHA-256 makes them: all equally likely.
    """
    chance = random.Random(seed)
    return [f"{chance.getrandbits(256):064x}" for _ in range(size)]


def balance(places: Sequence[frozenset[str]], servers: Sequence[str]) -> tuple[float, float]:
    """
    Return the fullest and the emptiest server's share, where 1.0 is the average.
    """
    held = Counter(server for place in places for server in place)
    average = sum(held.values()) / len(servers)
    return max(held[name] for name in servers) / average, min(
        held[name] for name in servers
    ) / average


def move(before: Sequence[frozenset[str]], after: Sequence[frozenset[str]], ideal: float) -> Move:
    """
    Compare two placements of the same sessions.
    """
    copies = sum(len(new - old) for old, new in zip(before, after, strict=True))
    orphans = sum(not old & new for old, new in zip(before, after, strict=True))
    return Move(copies / len(before), ideal, orphans)


def lose(places: Sequence[frozenset[str]], lost: Sequence[str]) -> dict[int, float]:
    """
    Return which part of the sessions has so many copies left without these servers.
    """
    left = Counter(len(place - set(lost)) for place in places)
    return {copies: count / len(places) for copies, count in sorted(left.items())}


def report(options: Any) -> list[str]:
    """
    Return what is printed.
    """
    names = tuple(f"10.0.0.{number}:11211" for number in range(1, options.servers + 2))
    now = Cluster(names[:-1], options.replicas)
    ids = sample(options.sample)
    places = now.place(ids)
    size, count = options.sessions * options.replicas * options.bytes, options.sessions
    fullest, emptiest = balance(places, now.servers)
    # Of a share p in a sample of n the standard error is sqrt(p (1 - p) / n).
    share = options.replicas / options.servers
    error = math.sqrt(max(share * (1 - share), 0) / options.sample) / share
    lines = [
        f"{count:,} sessions of {options.bytes} bytes, {options.replicas} replicas on "
        f"{options.servers} servers; a sample of {options.sample:,} (seed {SEED})",
        f"memory: {_gigabytes(size)} in all, {_gigabytes(size / options.servers)} on each server",
        f"balance: the fullest server holds {fullest:.3f} of the average, the emptiest "
        f"{emptiest:.3f} (standard error of the sample {error:.3f})",
    ]
    for number in (1, 2):
        left = lose(places, now.servers[:number])
        told = ", ".join(f"{part:.2%} have {copies}" for copies, part in left.items())
        lines.append(f"{number} of {options.servers} servers gone: of the sessions, {told} left")
    copied = share * count
    lines.append(
        f"a server comes back empty: {copied:,.0f} copies, {_gigabytes(copied * options.bytes)}; "
        + _repair_time(count, copied, options)
    )
    grown = Cluster(names, options.replicas)
    changes = [
        ("one server is added", now, grown, options.replicas / (options.servers + 1)),
        ("one server is removed", grown, now, options.replicas / (options.servers + 1)),
    ]
    for name, old, new, ideal in changes:
        moved = move(old.place(ids), new.place(ids), ideal)
        lines.append(
            f"{name}: {moved.copies:.4f} copies per session move (at least {moved.ideal:.4f}), "
            f"{moved.orphans} sessions keep no copy; {moved.copies * count:,.0f} copies, "
            f"{_gigabytes(moved.copies * count * options.bytes)}; "
            + _repair_time(count, moved.copies * count, options)
        )
    lines.append(_rolling(now, ids, options))
    return lines


def _rolling(now: Cluster, ids: Sequence[str], options: Any) -> str:
    """
    Replace every server by a new one, one after the other.
    """
    total, orphans, servers = 0.0, 0, list(now.servers)
    before = now.place(ids)
    for position in range(options.servers):
        servers[position] = f"10.0.1.{position + 1}:11211"
        after = Cluster(tuple(servers), options.replicas).place(ids)
        step = move(before, after, 0)
        total, orphans, before = total + step.copies, orphans + step.orphans, after
    moved = total * options.sessions
    return (
        f"all {options.servers} servers are replaced, one after the other, with a repair after "
        f"each: {total:.3f} copies per session move (at least {options.replicas}), {orphans} "
        f"sessions keep no copy in any step; {_gigabytes(moved * options.bytes)}; "
        + _repair_time(options.sessions * options.servers, moved, options)
    )


def _repair_time(compared: float, repaired: float, options: Any) -> str:
    seconds = compared / options.compare_rate + repaired / options.repair_rate
    return f"repair by one process: {seconds / 3600:.1f} hours"


def _gigabytes(size: float) -> str:
    return f"{size / 2**30:,.1f} GB"


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation")
    parser.add_argument("--sessions", type=int, default=100_000_000, metavar="N")
    parser.add_argument("--servers", type=int, default=12, metavar="N")
    parser.add_argument("--replicas", type=int, default=2, metavar="N")
    parser.add_argument("--sample", type=int, default=200_000, metavar="N")
    parser.add_argument("--bytes", type=int, default=700, metavar="N", help="a copy in memory")
    parser.add_argument(
        "--compare-rate", type=float, default=30_000, metavar="N", help="sessions a second"
    )
    parser.add_argument(
        "--repair-rate", type=float, default=4_000, metavar="N", help="sessions a second"
    )
    for line in report(parser.parse_args()):
        print(line)


if __name__ == "__main__":
    _main()
