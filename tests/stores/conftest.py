"""
Web processes that tests of all engines share, as starting them takes longer than most tests.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testproject.workers import Worker, running_workers

PROCESSES = 4


@pytest.fixture(scope="session")
def web_processes() -> Iterator[list[Worker]]:
    """
    Processes that whoever uses them has to `configure`.
    """
    with running_workers(PROCESSES, quiet=True) as running:
        yield running
