"""
`SESSION_ENGINE = "tests.third_party.engine"`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings as django_settings

from django_distsession.backends.base import StoreBackedSession
from tests.third_party.store import SQLiteStore

# The setting that names the file.
FILE = "SESSION_SQLITE_FILE"


class SessionStore(StoreBackedSession):
    @classmethod
    def make_store(cls, runtime: Any) -> SQLiteStore:
        file: Path = getattr(django_settings, FILE)
        return SQLiteStore(file)
