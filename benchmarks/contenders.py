"""
Who is compared: our engines, Django's, and the floors below all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module

from benchmarks.engines.requests import request_operations
from benchmarks.engines.sessions import session_operations
from benchmarks.floors.couchdb import bare_couchdb
from benchmarks.floors.memcached import bare_memcached
from benchmarks.floors.signed import signed_memcached
from benchmarks.operations import Operations
from benchmarks.running import Servers

Contender = Callable[[Servers], AbstractContextManager[Operations]]

OUR_MIDDLEWARE = "django_distsession.middleware.SessionMiddleware"
DJANGOS_MIDDLEWARE = "django.contrib.sessions.middleware.SessionMiddleware"


def _engine(path: str, middleware: str) -> Contender:
    @contextmanager
    def contender(servers: Servers) -> Iterator[Operations]:
        store = import_module(path).SessionStore
        yield {**session_operations(store), **request_operations(path, middleware, store)}

    return contender


POSTGRESQL = "django-cached_db-postgresql"

CONTENDERS: dict[str, Contender] = {
    "memcached-r1": _engine("benchmarks.engines.one_replica", OUR_MIDDLEWARE),
    "memcached-r2": _engine("django_distsession.backends.memcached", OUR_MIDDLEWARE),
    "memcached-r3": _engine("benchmarks.engines.three_replicas", OUR_MIDDLEWARE),
    "couchdb": _engine("django_distsession.backends.couchdb", OUR_MIDDLEWARE),
    "hybrid-r2": _engine("django_distsession.backends.hybrid", OUR_MIDDLEWARE),
    "django-cache": _engine("django.contrib.sessions.backends.cache", DJANGOS_MIDDLEWARE),
    "django-cached_db": _engine("django.contrib.sessions.backends.cached_db", DJANGOS_MIDDLEWARE),
    POSTGRESQL: _engine("benchmarks.engines.on_postgresql.engine", DJANGOS_MIDDLEWARE),
    "django-db": _engine("django.contrib.sessions.backends.db", DJANGOS_MIDDLEWARE),
    "bare-memcached-1": lambda servers: bare_memcached(servers.addresses[:1]),
    "bare-memcached-2": lambda servers: bare_memcached(servers.addresses[:2]),
    "bare-signed-1": lambda servers: signed_memcached(servers.addresses[:1]),
    "bare-signed-2": lambda servers: signed_memcached(servers.addresses[:2]),
    "bare-couchdb": lambda servers: bare_couchdb(servers.couchdb.url, servers.database),
}
