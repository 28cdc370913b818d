"""
The engine.
"""

from __future__ import annotations

from django.contrib.sessions.backends import cached_db

from benchmarks.engines.on_postgresql.models import PostgreSQLSession


class SessionStore(cached_db.SessionStore):
    cache_key_prefix = "on-postgresql"

    @classmethod
    def get_model_class(cls) -> type[PostgreSQLSession]:
        return PostgreSQLSession
