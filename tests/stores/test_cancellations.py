"""
Requests of an event loop that are cancelled at any moment, while servers hang and die. At length:
`python -m benchmarks.cancellations`.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.cancellations import Options, Site, run
from django_distsession.backends.memcached import SessionStore
from testproject.servers import MemcachedNode, memcached_nodes
from tests.driving import DRIVERS


@pytest.mark.parametrize("loop", DRIVERS[1:])
def test_cancellations_do_no_harm(settings: Any, loop: str) -> None:
    factory = pytest.importorskip(loop).new_event_loop
    options = Options(cancellations=300, users=32, sessions=10, hang_after=60.0)
    with memcached_nodes(3) as nodes:
        result = run(Site(nodes, options, use(settings, nodes)), factory)
    assert result.harm == {}
    assert result.cancelled >= 300


def use(settings: Any, nodes: list[MemcachedNode]) -> Any:
    settings.SESSION_ENGINE = "django_distsession.backends.memcached"
    settings.DISTSESSION = {
        "MEMCACHED": {"SERVERS": [node.address for node in nodes], "RETRY_AFTER": 0.1}
    }
    return SessionStore
