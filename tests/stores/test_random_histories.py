"""
Random requests to several processes under random faults of servers and links, shortly. At length:
`python -m benchmarks.histories`.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.histories.options import Options
from benchmarks.histories.running import run
from testproject.servers import CouchDBServer
from testproject.workers import Worker
from tests.stores.conftest import PROCESSES

# The last of the processes repairs.
SHORT: dict[str, Any] = {
    "workers": PROCESSES - 1,
    "requests": 1500,
    "seconds": 2.0,
    "sessions": 12,
    "timeout": 0.5,
    "retry_after": 0.05,
    # For until then saves of those who leave out a server that is back stand on fewer replicas.
    "all_recover": True,
}
LINES = 40


@pytest.mark.parametrize(
    "options",
    [
        Options(**SHORT, seed=1),
        Options(**SHORT, seed=2, slow_link=True),
        Options(**SHORT, seed=3, replicas=3, quorum=2),
        Options(**SHORT, seed=4, engine="hybrid"),
    ],
    ids=["memcached", "slow-link", "quorum", "hybrid"],
)
def test_nobody_is_harmed(
    options: Options, request: pytest.FixtureRequest, web_processes: list[Worker]
) -> None:
    couchdb: CouchDBServer | None = None
    if options.engine != "memcached":
        couchdb = request.getfixturevalue("couchdb")
    outcome = run(options, couchdb, web_processes)
    assert outcome.faults
    assert outcome.requests > 100
    ends = ["\n".join(text.splitlines()[-LINES:]) for text in outcome.model.first.values()]
    assert not outcome.model.harm, "\n\n".join(ends)
