"""
A web process for fault tests: it keeps its connections open and does as it is told, line by line.

    python -m tests.stores.memcached.worker COUCHDB NAMESPACE REPLICAS QUORUM SERVER [SERVER ...]

COUCHDB is a URL for the hybrid engine, "-" for the memcached engine.
Reads one JSON list per line, [operation, arguments ...], and answers with one JSON value.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from typing import Any


def set_up(couchdb: str, namespace: str, replicas: int, quorum: int, servers: list[str]) -> None:
    import django
    from django.conf import settings

    os.environ["DJANGO_SETTINGS_MODULE"] = "testproject.settings"
    engine = "memcached" if couchdb == "-" else "hybrid"
    settings.SESSION_ENGINE = f"django_distsession.backends.{engine}"
    settings.DISTSESSION = {
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
    if couchdb != "-":
        settings.DISTSESSION["COUCHDB"] = {"URL": couchdb, "DATABASE": namespace}
    django.setup()


def session_class() -> Any:
    from importlib import import_module

    from django.conf import settings

    return import_module(settings.SESSION_ENGINE).SessionStore


def create(values: dict[str, Any]) -> str | None:
    session = session_class()()
    session.update(values)
    session.save()
    key: str | None = session.session_key
    return key


def read(key: str) -> dict[str, Any]:
    return dict(session_class()(key).items())


def write(key: str, values: dict[str, Any]) -> dict[str, Any]:
    session = session_class()(key)
    session.update(values)
    session.save()
    return dict(session.items())


def fight(key: str, name: str, rounds: int) -> list[list[Any]]:
    """
    Overwrite one value that others overwrite too, and return for each round: what was there, what
    was written, when the read began and ended, and when the save ended, by the system's clock.
    """
    sessions, log = session_class(), []
    for number in range(rounds):
        # Now one comes between another's read and save, and now it does not.
        time.sleep(random.uniform(0, 0.002))
        began = time.monotonic()
        session = sessions(key)
        saw = session["value"]
        seen_at = time.monotonic()
        wrote = session["value"] = f"{name}{number}"
        session.save()
        log.append([saw, wrote, began, seen_at, time.monotonic()])
    return log


def flush(key: str) -> None:
    session_class()(key).flush()


def recover(*names: str) -> None:
    """
    Use all servers until those that are named, or all, count as up here too.
    """

    def is_down(server: dict[str, Any]) -> bool:
        known = not names or server.get("server") in names
        return known and not server.get("up", True)

    while any(is_down(server) for server in session_class().status()):
        session_class().get_store().inspect("0" * 64)


def repair() -> None:
    from django.core.management import call_command

    call_command("repairsessions", no_progress=True, verbosity=0)


OPERATIONS = {
    operation.__name__: operation
    for operation in (create, read, write, fight, flush, recover, repair)
}


def main() -> None:
    couchdb, namespace, replicas, quorum, *servers = sys.argv[1:]
    set_up(couchdb, namespace, int(replicas), int(quorum), servers)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = {"result": OPERATIONS[name](*arguments)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
