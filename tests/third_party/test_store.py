"""
The store passes the public tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from django_distsession.testing import StoreContract
from django_distsession.testing.kit.base import Fault
from tests.third_party.store import SQLiteStore


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "sessions.sqlite3"

    @pytest.fixture
    def store(self, file: Path) -> SQLiteStore:
        return SQLiteStore(file)

    @pytest.fixture
    def outage(self, file: Path) -> Fault:
        @contextmanager
        def moved_away() -> Iterator[None]:
            elsewhere = file.with_suffix(".away")
            if file.exists():
                file.rename(elsewhere)
            file.mkdir()
            yield
            file.rmdir()
            if elsewhere.exists():
                elsewhere.rename(file)

        return moved_away
