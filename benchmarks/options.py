"""
The command line.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from benchmarks.contenders import CONTENDERS


@dataclass(frozen=True, slots=True)
class Options:
    rounds: int
    batch: int
    contenders: list[str]
    json: str | None


def parse() -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure our session engines beside Django's, on the same servers.",
    )
    parser.add_argument(
        "--rounds", type=_count, default=40, help="how often everybody's turn comes (default: 40)"
    )
    parser.add_argument(
        "--batch", type=_count, default=25, help="how many operations a turn has (default: 25)"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=CONTENDERS,
        metavar="NAME",
        help=f"leave out all others; may be repeated. Names: {', '.join(CONTENDERS)}",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the figures to a file")
    given = parser.parse_args()
    return Options(given.rounds, given.batch, given.only or list(CONTENDERS), given.json)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
