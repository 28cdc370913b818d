"""
Run one history and say in a line what became of it. The exit status is 1 if anybody was harmed.
"""

from __future__ import annotations

from benchmarks.histories.options import parse
from benchmarks.histories.running import run


def main() -> None:
    options, program = parse()
    outcome = run(options)
    print(f"{options.summary}: {outcome.line}")
    if program.trace:
        for history in outcome.model.first.values():
            print(f"\n{history}")
    raise SystemExit(bool(outcome.model.harm))


if __name__ == "__main__":
    main()
