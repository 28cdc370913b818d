"""
System checks that ask every server once. Like Django's own with this tag, they run for
`check --database` and `migrate` only: a web process that starts must not wait for another server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, Warning, register

from .. import conf
from ..engine import current_engine, needed_sections

OLDEST_MEMCACHED = (1, 6, 18)


@register(Tags.database)
def check_servers(
    app_configs: Sequence[AppConfig] | None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """
    W024: a server does not answer, or refuses access. W025: memcached is too old.
    """
    needed = needed_sections() if databases else ()
    if not needed or conf.problems():
        return []
    given = conf.get()
    found: list[CheckMessage] = []
    if "MEMCACHED" in needed and given.memcached:
        found += _memcached(given.memcached)
    if "COUCHDB" in needed and given.couchdb:
        found += _couchdb(given.couchdb)
    return found


def _memcached(given: conf.MemcachedSettings) -> Iterator[CheckMessage]:
    from ..stores.deadline import Deadline
    from ..stores.memcached.connection import FAILURES, Connection
    from ..stores.memcached.protocol import parse_server

    for server in given.servers:
        connection = Connection(
            parse_server(server),
            connect_timeout=given.connect_timeout,
            tls_context=given.tls_context,
            credentials=given.credentials,
        )
        try:
            connection.connect(Deadline(given.timeout))
            version = connection.version().decode("ascii", "replace")
        except FAILURES as error:
            yield _unusable(f"memcached at {server} cannot be used ({_said(error)}).")
            continue
        finally:
            connection.close()
        if _numbers(version) < OLDEST_MEMCACHED:
            oldest = ".".join(map(str, OLDEST_MEMCACHED))
            yield Warning(
                f"memcached at {server} has version {version[:40]}, older than {oldest}, which is "
                "the oldest that is supported. Update it.",
                id="distsession.W025",
            )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _couchdb(given: conf.CouchDBSettings) -> Iterator[CheckMessage]:
    # Imports CouchDB's client.
    from ..backends.couchdb import CouchDBSession
    from ..exceptions import StoreError
    from ..stores.couchdb.client import DatabaseMissing

    engine = current_engine()
    if not issubclass(engine, CouchDBSession):
        return
    told = set()
    for client in engine.make_clients(given, engine.database_name(given)):
        try:
            client.info()
        except DatabaseMissing:
            # Created on first use, or reported by the check of design documents.
            pass
        except StoreError as error:
            if str(error) not in told:
                told.add(str(error))
                yield _unusable(str(error))
        finally:
            client.close()


def _said(error: Exception) -> str:
    name = type(error).__name__
    return f"{name}: {error}".rstrip(".") if str(error) else name


def _unusable(message: str) -> CheckMessage:
    return Warning(message, id="distsession.W024")
