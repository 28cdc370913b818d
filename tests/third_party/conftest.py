"""
Engines without a server: the third party's, and the one in memory.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from django_distsession.backends.base import StoreBackedSession

SERVERLESS = ("tests.third_party.engine", "django_distsession.backends.memory")


@pytest.fixture(params=SERVERLESS)
def session_class(
    request: pytest.FixtureRequest, settings: Any, tmp_path: Path
) -> type[StoreBackedSession]:
    """
    Each one's SessionStore in turn, in use by the middleware too.
    """
    settings.SESSION_SQLITE_FILE = tmp_path / "sessions.sqlite3"
    settings.SESSION_ENGINE = request.param
    store: type[StoreBackedSession] = import_module(request.param).SessionStore
    return store
