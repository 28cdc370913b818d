"""
Sessions in a file of SQLite's.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from django_distsession.exceptions import StoreUnavailable
from django_distsession.stamps import Stamp
from django_distsession.stores.abilities import Copy, UserSession
from django_distsession.stores.contract import Conflict, Store, Token, Versioned
from django_distsession.stores.garbage import GCOptions, GCResult
from django_distsession.stores.record import Record

TIMEOUT = 5.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    storage_id TEXT PRIMARY KEY, token TEXT, generation INTEGER, tag TEXT, payload BLOB, user TEXT,
    created_at INTEGER, updated_at INTEGER, expires_at INTEGER, retain_until INTEGER, ended INTEGER
)
"""
READ = """
SELECT token, generation, tag, payload, user, created_at, expires_at, retain_until, ended
FROM sessions WHERE storage_id = ?
"""
WRITE = "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
IS_GARBAGE = "max(expires_at, retain_until) <= ?"
OF_USER = """
SELECT storage_id, created_at, updated_at, expires_at FROM sessions
WHERE user = ? AND NOT ended AND expires_at > ? ORDER BY created_at
"""


class SQLiteStore(Store):
    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, storage_id: str) -> Versioned | None:
        with self._transaction("DEFERRED") as db:
            return _read(db, storage_id)

    def add(self, storage_id: str, record: Record) -> Token:
        return self._swap(storage_id, record, None)

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        return self._swap(storage_id, record, token)

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        with self._transaction("IMMEDIATE") as db:
            if _read(db, storage_id) is not None:
                _write(db, storage_id, Record.tombstone(expires_at))

    def clear_expired(self, options: GCOptions | None = None) -> GCResult:
        options, now = options or GCOptions(), int(time.time())
        with self._transaction("IMMEDIATE") as db:
            query = f"SELECT storage_id FROM sessions WHERE {IS_GARBAGE} LIMIT ?"
            limit = -1 if options.limit is None else options.limit
            garbage = db.execute(query, (now, limit)).fetchall()
            if options.dry_run:
                return GCResult(seen=len(garbage))
            db.executemany("DELETE FROM sessions WHERE storage_id = ?", garbage)
            return GCResult(seen=len(garbage), purged=len(garbage))

    def for_user(self, user: str) -> list[UserSession]:
        with self._transaction("DEFERRED") as db:
            return [UserSession(*row) for row in db.execute(OF_USER, (user, int(time.time())))]

    def inspect(self, storage_id: str) -> list[Copy]:
        place = str(self._path)
        try:
            found = self.get(storage_id)
        except StoreUnavailable:
            return [Copy("sqlite", place, "unavailable")]
        if found is None:
            return [Copy("sqlite", place, "absent")]
        if found.record.ended:
            return [Copy("sqlite", place, "ended")]
        return [Copy("sqlite", place, "live", found.record.version)]

    def _swap(self, storage_id: str, record: Record, token: Token) -> Token:
        with self._transaction("IMMEDIATE") as db:
            found = _read(db, storage_id)
            if found is not None and found.record.version == record.version:
                return found.token
            if token != (found.token if found else None):
                raise Conflict(found)
            return _write(db, storage_id, record)

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        # A connection for each call: nothing to be shared by threads, or to survive a fork.
        try:
            with closing(sqlite3.connect(self._path, timeout=TIMEOUT, isolation_level=None)) as db:
                db.execute(SCHEMA)
                db.execute(f"BEGIN {kind}")
                yield db
                db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreUnavailable(f"SQLite cannot use {self._path}: {error}") from error


def _read(db: sqlite3.Connection, storage_id: str) -> Versioned | None:
    row = db.execute(READ, (storage_id,)).fetchone()
    if row is None:
        return None
    token, generation, tag, payload, user, created_at, expires_at, retain_until, ended = row
    record = Record(
        Stamp(generation, tag),
        expires_at,
        created_at,
        payload,
        user,
        bool(ended),
        retain_until=retain_until,
    )
    return Versioned(record, token)


def _write(db: sqlite3.Connection, storage_id: str, record: Record) -> Token:
    token = secrets.token_hex(8)
    values = (
        *(storage_id, token, *record.version, record.payload, record.user, record.created_at),
        *(int(time.time()), record.expires_at, record.retain_until, record.ended),
    )
    db.execute(WRITE, values)
    return token
