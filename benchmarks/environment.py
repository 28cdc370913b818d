"""
Where the figures come from. Without it they mean nothing.
"""

from __future__ import annotations

import json
import os
import platform
import socket
from http.client import HTTPConnection, HTTPSConnection
from importlib.metadata import version
from urllib.parse import urlsplit

from benchmarks.running import Servers
from benchmarks.sample import sample_json


def describe(servers: Servers, *, rounds: int, batch: int) -> dict[str, str]:
    clients = ("Django", "pymemcache", "couchdb3")
    load = os.getloadavg()[0]
    return {
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in clients),
        "machine": f"{os.cpu_count()} CPUs, load average {load:.1f} at the start",
        "memcached": f"{len(servers.nodes)} nodes, version {_memcached_version(servers)}",
        "CouchDB": _couchdb_version(servers),
        "session": f"{len(sample_json())} bytes of JSON",
        "samples": f"{rounds} rounds of {batch} operations",
    }


def _memcached_version(servers: Servers) -> str:
    host, _, port = servers.addresses[0].rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"version\r\n")
        return connection.recv(100).decode().split()[1]


def _couchdb_version(servers: Servers) -> str:
    parts = urlsplit(servers.couchdb.public_url)
    assert parts.hostname
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port)
    try:
        connection.request("GET", parts.path or "/", headers={"Connection": "close"})
        said = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    vendor = said.get("vendor", {}).get("name") or "unknown vendor"
    return f"{vendor}, version {said.get('version')}"
