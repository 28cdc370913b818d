"""
The settings of web processes for fault tests.
"""

from __future__ import annotations

from typing import Any

from testproject.workers.operations import configure, create, read, write

__all__ = ["create", "read", "set_up", "settings_for", "write"]


def settings_for(
    couchdb: str, namespace: str, replicas: int, quorum: int, servers: list[str]
) -> tuple[str, dict[str, Any]]:
    """
    Return the engine and DISTSESSION. couchdb: a URL for hybrid, "-" for memcached.
    """
    distsession: dict[str, Any] = {
        "NAMESPACE": namespace,
        "MEMCACHED": {
            "SERVERS": servers,
            "REPLICAS": replicas,
            "QUORUM": quorum,
            "RETRY_AFTER": 0.1,
            # A time-out that a busy machine runs into would be a second fault.
            "TIMEOUT": 0.5,
        },
    }
    if couchdb == "-":
        return "memcached", distsession
    distsession["COUCHDB"] = {"URL": couchdb, "DATABASE": namespace}
    return "hybrid", distsession


def set_up(couchdb: str, namespace: str, replicas: int, quorum: int, servers: list[str]) -> None:
    configure(*settings_for(couchdb, namespace, replicas, quorum, servers))
