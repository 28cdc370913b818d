"""
The benchmark measures and prints what it promises. How fast anything is, no test can say.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import crowd, garbage, repair
from benchmarks.contenders import CONTENDERS, POSTGRESQL
from benchmarks.operations import Operation
from benchmarks.ratios import RATIOS

ROOT = Path(__file__).resolve().parents[2]

GARBAGE = {garbage.LABEL, garbage.LABEL_OF_FRESH}
FLOORS = {name for name in CONTENDERS if name.startswith("bare-")}
WITHOUT_REQUEST = {Operation.LOAD, Operation.SAVE}


def run_benchmarks(*arguments: str) -> str:
    # In a process of its own, as it brings its own settings.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """
    Return what one short run of everything printed, and what it wrote to a file.
    """
    file = tmp_path_factory.mktemp("benchmarks") / "figures.json"
    printed = run_benchmarks("--rounds", "1", "--batch", "1", "--json", str(file))
    return printed, json.loads(file.read_text())


def left_out(printed: str) -> set[str]:
    """
    Return the contender that not every machine can have, where this one said that it has not.
    """
    return {POSTGRESQL} if f"{POSTGRESQL} is left out" in printed else set()


def test_every_contender_is_measured_in_every_operation(run):
    printed, figures = run
    measured = {(row["contender"], row["operation"]) for row in figures["times"]}
    assert measured == {
        (contender, operation)
        for contender in CONTENDERS.keys() - left_out(printed)
        for operation in Operation
        if contender not in FLOORS or operation in WITHOUT_REQUEST
    }
    assert all(row["wall"] > 0 and row["cpu"] > 0 for row in figures["times"])


def test_every_time_is_printed(run):
    printed, figures = run
    for contender in CONTENDERS:
        rows = sum(row["contender"] == contender for row in figures["times"])
        lines = [line for line in printed.splitlines() if line.startswith(f"  {contender} ")]
        assert len(lines) == rows


def test_every_ratio_is_printed_with_its_target(run):
    printed, figures = run
    labels = [row["label"] for row in figures["ratios"]]
    # Not every server can purge.
    *of_times, hung, tail, beside, repaired, of_bare = [
        label for label in labels if label not in GARBAGE
    ]
    absent = left_out(printed)
    assert of_times == [str(ratio) for ratio in RATIOS if ratio.under not in absent]
    assert "one of three nodes hung" in hung
    assert "p99.9 with one of three nodes hung" in tail
    assert beside == crowd.LABEL
    assert (repaired, of_bare) == (repair.LABEL, repair.LABEL_OF_BARE)
    for row in figures["ratios"]:
        [line] = [line for line in printed.splitlines() if line.startswith(f"{row['label']} ")]
        assert (row["at_most"] is not None) == ("<=" in line)


def test_a_hung_node_costs_one_time_out(run):
    _, figures = run
    hung = figures["hung_node"]
    assert hung["finding_out"] > hung["hung"] > 0
    tail = figures["hung_tail"]
    # However slow the slowest load of a busy machine is, finding out takes a time-out.
    assert tail["finding_out"] > 200_000
    assert tail["hung_slowest"] >= tail["hung"] > 0


def test_a_crowd_holds_up_others_and_itself(run):
    _, figures = run
    crowded = figures["crowd"]
    assert 0 < crowded["alone"] < crowded["longest"]
    assert crowded["beside"] > 0


def test_one_contender_alone():
    printed = run_benchmarks("--rounds", "1", "--batch", "1", "--only", "django-cache")
    assert "django-cache" in printed
    assert "memcached-r1" not in printed
