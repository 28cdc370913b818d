"""
A web process for fault tests: it keeps its connections open and does as it is told, line by line.

    python -m tests.stores.memcached.worker NAMESPACE REPLICAS QUORUM SERVER [SERVER ...]

Reads one JSON list per line, [operation, arguments ...], and answers with one JSON value.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def set_up(namespace: str, replicas: int, quorum: int, servers: list[str]) -> None:
    import django
    from django.conf import settings

    os.environ["DJANGO_SETTINGS_MODULE"] = "testproject.settings"
    settings.SESSION_ENGINE = "django_distsession.backends.memcached"
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
    django.setup()


def create(values: dict[str, Any]) -> str | None:
    from django_distsession.backends.memcached import SessionStore

    session = SessionStore()
    session.update(values)
    session.save()
    return session.session_key


def read(key: str) -> dict[str, Any]:
    from django_distsession.backends.memcached import SessionStore

    return dict(SessionStore(key).items())


def write(key: str, values: dict[str, Any]) -> dict[str, Any]:
    from django_distsession.backends.memcached import SessionStore

    session = SessionStore(key)
    session.update(values)
    session.save()
    return dict(session.items())


def flush(key: str) -> None:
    from django_distsession.backends.memcached import SessionStore

    SessionStore(key).flush()


def recover(*names: str) -> None:
    """
    Use all servers until those that are named, or all, count as up here too.
    """
    from django_distsession.backends.memcached import SessionStore

    def is_down(server: dict[str, Any]) -> bool:
        return not server["up"] and (not names or server["server"] in names)

    while any(is_down(server) for server in SessionStore.status()):
        SessionStore.get_store().inspect("0" * 64)


def repair() -> None:
    from django.core.management import call_command

    call_command("repairsessions", no_progress=True, verbosity=0)


OPERATIONS = {
    operation.__name__: operation for operation in (create, read, write, flush, recover, repair)
}


def main() -> None:
    namespace, replicas, quorum, *servers = sys.argv[1:]
    set_up(namespace, int(replicas), int(quorum), servers)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = {"result": OPERATIONS[name](*arguments)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
