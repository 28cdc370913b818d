"""
`SESSION_ENGINE = "benchmarks.engines.three_replicas"`: the memcached engine with REPLICAS = 3 and
QUORUM = 2.
"""

from __future__ import annotations

from benchmarks.engines.replication import ReplicatedSession


class SessionStore(ReplicatedSession):
    """
    One of the contenders.
    """

    replicas = 3
    quorum = 2
