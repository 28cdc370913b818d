"""
The handle of one such process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Answer(NamedTuple):
    """
    result: what the operation returned. error: what it raised, as "Class: message".
    """

    result: Any = None
    error: str | None = None


class Worker:
    """
    One process. It is used by one thread at a time. quiet: whether its log is dropped.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "testproject.workers"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
        )

    def tell(self, *operation: Any) -> None:
        """
        Send the name of one of `operations` and its arguments.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(operation) + "\n")
        self.process.stdin.flush()

    def hear(self) -> Answer:
        """
        Wait for what came of it. `EOFError` if the process is gone.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise EOFError("A worker is gone.")
        return Answer(**json.loads(line))

    def ask(self, *operation: Any) -> Answer:
        self.tell(*operation)
        return self.hear()

    def do(self, *operation: Any) -> Any:
        """
        Return the result of an operation that must succeed.
        """
        answer = self.ask(*operation)
        if answer.error is not None:
            raise RuntimeError(f"{operation[0]}: {answer.error}")
        return answer.result

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def running_workers(count: int, *, quiet: bool = False) -> Iterator[list[Worker]]:
    """
    Start processes, which have yet to be told to `configure` themselves.
    """
    running: list[Worker] = []
    try:
        running += [Worker(quiet=quiet) for _ in range(count)]
        yield running
    finally:
        for worker in running:
            worker.close()
