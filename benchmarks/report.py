"""
The figures, for people and for programs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks import crowd
from benchmarks.crowd import Crowd
from benchmarks.hung_node import CONTENDER, HungNode
from benchmarks.hung_tail import PROCESSES, HungTail
from benchmarks.measuring import Cell, Result
from benchmarks.operations import Operation
from benchmarks.ratios import Verdict


def as_text(
    environment: Mapping[str, str],
    results: Mapping[Cell, Result],
    verdicts: Sequence[Verdict],
    hung: HungNode | None,
    tail: HungTail | None,
    crowded: Crowd | None,
) -> str:
    sections = [
        _environment(environment),
        _times(results),
        _hung(hung),
        _tail(tail),
        _crowd(crowded),
        _ratios(verdicts),
    ]
    return "\n\n".join(filter(None, ("\n".join(lines) for lines in sections)))


def as_document(
    environment: Mapping[str, str],
    results: Mapping[Cell, Result],
    verdicts: Sequence[Verdict],
    hung: HungNode | None,
    tail: HungTail | None,
    crowded: Crowd | None,
) -> dict[str, Any]:
    return {
        "environment": dict(environment),
        "times": [{**cell._asdict(), **asdict(result)} for cell, result in results.items()],
        "ratios": [{**asdict(verdict), "is_met": verdict.is_met} for verdict in verdicts],
        "hung_node": hung and asdict(hung),
        "hung_tail": tail and asdict(tail),
        "crowd": crowded and asdict(crowded),
    }


def _environment(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        yield f"{name:<10} {value}"


def _times(results: Mapping[Cell, Result]) -> Iterator[str]:
    yield f"{'µs per operation':<28}{'median':>9}{'90th %':>9}{'CPU':>9}"
    for operation in Operation:
        of_operation = {cell: result for cell, result in results.items() if cell[0] == operation}
        if of_operation:
            yield str(operation)
        for cell, result in of_operation.items():
            times = f"{result.wall:9.0f}{result.wall_p90:9.0f}{result.cpu:9.0f}"
            yield f"  {cell.contender:<26}{times}"


def _hung(hung: HungNode | None) -> Iterator[str]:
    if hung is not None:
        yield f"{Operation.LOAD} by {CONTENDER} while one of three memcached nodes hangs"
        yield f"  {'all healthy':<26}{hung.healthy:9.0f}"
        yield f"  {'one hung':<26}{hung.hung:9.0f}"
        yield f"  {'the load that found out':<26}{hung.finding_out:9.0f}"


def _tail(tail: HungTail | None) -> Iterator[str]:
    if tail is not None:
        label = f"{tail.loads} loads by {PROCESSES} processes"
        yield f"{label:<28}{'99.9th %':>9}{'slowest':>9}"
        yield f"  {'all healthy':<26}{tail.healthy:9.0f}{tail.healthy_slowest:9.0f}"
        yield f"  {'one node hung for long':<26}{tail.hung:9.0f}{tail.hung_slowest:9.0f}"
        yield f"  {'the load that found out':<35}{tail.finding_out:9.0f}"


def _crowd(crowded: Crowd | None) -> Iterator[str]:
    if crowded is not None:
        yield f"{Operation.SAVE} by {crowd.CONTENDER} while {crowd.SAVES} save one session at once"
        yield f"  {'another session, alone':<26}{crowded.alone:9.0f}"
        yield f"  {'another session, beside':<26}{crowded.beside:9.0f}"
        yield f"  {'the longest of the crowd':<26}{crowded.longest:9.0f}"


def _ratios(verdicts: Sequence[Verdict]) -> Iterator[str]:
    if not verdicts:
        return
    width = max(len(verdict.label) for verdict in verdicts)
    yield f"{'ratio':<{width}}  value  target"
    for verdict in verdicts:
        line = f"{verdict.label:<{width}}  {verdict.value:5.2f}"
        if verdict.at_most is not None:
            line += f"  <= {verdict.at_most:<5} {'met' if verdict.is_met else 'MISSED'}"
        yield line
