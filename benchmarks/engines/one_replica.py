"""
`SESSION_ENGINE = "benchmarks.engines.one_replica"`: the memcached engine with REPLICAS = 1.
"""

from __future__ import annotations

from benchmarks.engines.replication import ReplicatedSession


class SessionStore(ReplicatedSession):
    """
    One of the contenders.
    """

    replicas = 1
    quorum = 1
