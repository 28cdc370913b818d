"""
The Django site in which everything is measured. Beside the session middleware it has nothing, so
that differences between engines are not lost in what they have in common.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.cache import caches
from django.core.management import call_command
from django.core.signals import setting_changed
from django.db import connections

from benchmarks.running import Servers

# The name of the second database.
ALIAS = "postgresql"

# The default where there are two servers or more.
REPLICAS = 2


@contextmanager
def benchmark_site(servers: Servers, postgresql: dict[str, Any] | None) -> Iterator[None]:
    """
    postgresql: a second database, for the engine that is measured on it; None if there is none.
    """
    with tempfile.TemporaryDirectory(prefix="distsession-") as folder:
        configured = _settings(servers, Path(folder))
        if postgresql:
            configured["DATABASES"][ALIAS] = postgresql
            configured["DATABASE_ROUTERS"] = ["benchmarks.engines.on_postgresql.models.Router"]
            configured["INSTALLED_APPS"].append("benchmarks.engines.on_postgresql")
        settings.configure(**configured)
        django.setup()
        call_command("migrate", verbosity=0)
        if postgresql:
            _create_table()
        try:
            yield
        finally:
            close_stores()
            caches.close_all()
            connections.close_all()


def _create_table() -> None:
    from benchmarks.engines.on_postgresql.models import PostgreSQLSession

    with connections[ALIAS].schema_editor() as editor:
        editor.create_model(PostgreSQLSession)


def close_stores() -> None:
    """
    Make our engines close their connections, forget what they know of servers, and start anew.
    """
    setting_changed.send(sender=None, setting="DISTSESSION", value=None, enter=True)


def _settings(servers: Servers, folder: Path) -> dict[str, Any]:
    return {
        "SECRET_KEY": "for-benchmarks-only-" + "0" * 40,
        "ALLOWED_HOSTS": ["127.0.0.1"],
        "ROOT_URLCONF": "benchmarks.urls",
        "INSTALLED_APPS": ["django_distsession", "django.contrib.sessions"],
        "USE_TZ": True,
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(folder / "sessions.sqlite3"),
                # As sites run that care for speed: Django's engines at their best.
                "CONN_MAX_AGE": None,
            }
        },
        "CACHES": {
            "default": {
                "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
                "LOCATION": servers.addresses,
            }
        },
        "DISTSESSION": {
            "MEMCACHED": {"SERVERS": servers.addresses, "REPLICAS": REPLICAS},
            "COUCHDB": {"URL": servers.couchdb.url, "DATABASE": servers.database},
        },
    }
