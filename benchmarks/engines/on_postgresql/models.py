"""
The table.
"""

from __future__ import annotations

from django.contrib.sessions.base_session import AbstractBaseSession

from benchmarks.site import ALIAS


class PostgreSQLSession(AbstractBaseSession):
    class Meta(AbstractBaseSession.Meta):
        app_label = "on_postgresql"


class Router:
    """
    Sends this table to its database, and nothing else.
    """

    def db_for_read(self, model: type, **hints: object) -> str | None:
        return ALIAS if model is PostgreSQLSession else None

    db_for_write = db_for_read
