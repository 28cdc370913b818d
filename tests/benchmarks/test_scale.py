"""
What is measured and simulated of many sessions: that it runs, and that the simulation tells a good
placement from a bad one. How large or fast anything is, no test can say.
"""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from typing import Any

import pytest

from benchmarks import simulation
from benchmarks.simulation import Cluster, balance, lose, move, sample

from .test_benchmarks import ROOT

NAMES = tuple(f"server{number}" for number in range(9))
IDS = sample(3000)


def printed(module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", f"benchmarks.{module}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestSimulation:
    def test_sessions_lie_evenly(self) -> None:
        fullest, emptiest = balance(Cluster(NAMES, 2).place(IDS), NAMES)
        assert 0.9 < emptiest < 1 < fullest < 1.1

    def test_a_change_of_servers_moves_little_and_orphans_nobody(self) -> None:
        before = Cluster(NAMES[:-1], 2).place(IDS)
        moved = move(before, Cluster(NAMES, 2).place(IDS), 2 / 9)
        assert abs(moved.copies - moved.ideal) < 0.03
        assert moved.orphans == 0

    def test_a_bad_placement_is_told_from_a_good_one(self, monkeypatch: Any) -> None:
        class Modulo:
            def __init__(self, names: tuple[str, ...], replicas: int) -> None:
                self._names, self._replicas = names, replicas

            def replica_set(self, storage_id: str) -> list[int]:
                first = int.from_bytes(sha256(storage_id.encode()).digest()[:8])
                return [(first + n) % len(self._names) for n in range(self._replicas)]

        monkeypatch.setattr(simulation, "Placement", Modulo)
        before = Cluster(NAMES[:-1], 2).place(IDS)
        moved = move(before, Cluster(NAMES, 2).place(IDS), 2 / 9)
        assert moved.copies > 1
        assert moved.orphans > 1000

    def test_what_lost_servers_leave(self) -> None:
        places = Cluster(NAMES, 2).place(IDS)
        one, two = lose(places, NAMES[:1]), lose(places, NAMES[:2])
        assert one.keys() == {1, 2}
        assert abs(one[1] - 2 / 9) < 0.03
        assert abs(two[0] - 1 / 36) < 0.01
        assert sum(two.values()) == pytest.approx(1)

    def test_it_prints_the_same_each_time(self) -> None:
        arguments = ("--sample", "500", "--servers", "4", "--sessions", "1000000")
        assert printed("simulation", *arguments) == printed("simulation", *arguments)


def test_the_costs_of_a_session_are_printed() -> None:
    lines = printed("unit_costs", "--sessions", "3").splitlines()
    assert sum(line.startswith("memcached, small session") for line in lines) == 3
    assert sum(line.startswith("couchdb, small session, read") for line in lines) == 2


def test_a_migration_is_printed_with_what_requests_felt() -> None:
    lines = printed("migration", "--sessions", "20", "--seconds", "0.2").splitlines()
    assert [line.split()[0] for line in lines if "errors: 0" in line] == [
        "before",
        "meanwhile",
        "afterwards",
    ]
    assert lines[-1].startswith("20 sessions: ")


def test_repair_rates_are_printed() -> None:
    lines = printed("repair", "--sessions", "20", "--differing", "0.5").splitlines()
    assert "of 20 sessions lack a copy:" in lines[0]
    assert [line.split()[0] for line in lines[1:]].count("repairsessions") == 2
