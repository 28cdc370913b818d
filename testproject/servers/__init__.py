"""
Real memcached nodes and a CouchDB API on free loopback ports, for demo, tests and benchmarks.

They start, stop, hang, resume, die and restart on request, and never outlive the process that
started them. Nothing here knows Django or the package.
"""

from __future__ import annotations

from testproject.servers.base import ServerUnavailable
from testproject.servers.couchdb import CouchDBServer, couchdb_server
from testproject.servers.memcached import MemcachedNode, memcached_nodes

__all__ = [
    "CouchDBServer",
    "MemcachedNode",
    "ServerUnavailable",
    "couchdb_server",
    "memcached_nodes",
]
