"""
Records in memcached, each on a replica set of servers.
"""

from __future__ import annotations

from .store import MemcachedStore

__all__ = ["MemcachedStore"]
