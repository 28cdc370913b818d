"""
Filling CouchDB with sessions as our own engine would store them, many to a request.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

from benchmarks.floors.couchdb import BareCouchDB

AT_ONCE = 2000
LIFETIME = 14 * 24 * 3600

# What sessions hold: a user who is logged in, and so many numbers.
SIZES = {"small": 50, "middle": 200, "large": 1000}


def contents(size: str = "small") -> dict[str, object]:
    return {
        "list": list(range(SIZES[size])),
        "_auth_user_id": str(secrets.randbelow(10**6)),
        "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
        "_auth_user_hash": secrets.token_hex(32),
    }


def fill(couchdb: BareCouchDB, database: str, count: int, size: str = "small") -> list[str]:
    """
    Store so many sessions, and return the keys of a thousand of them.
    """
    keys: list[str] = []
    for start in range(0, count, AT_ONCE):
        documents = []
        for key, document in _documents(min(AT_ONCE, count - start), size):
            documents.append(document)
            keys += [key] if len(keys) < 1000 else []
        couchdb.post(f"/{database}/_bulk_docs", {"docs": documents})
    return keys


def _documents(count: int, size: str) -> Iterator[tuple[str, dict[str, object]]]:
    from django_distsession.backends.couchdb import SessionStore
    from django_distsession.state import first_state, new_tag
    from django_distsession.stores.couchdb.documents import to_document

    runtime, now = SessionStore.runtime, int(time.time())
    for _ in range(count):
        key, values = secrets.token_hex(16), contents(size)
        storage_id = runtime.storage_id(key)
        assert storage_id
        expires_at = now + secrets.randbelow(LIFETIME) + 3600
        state = first_state(values, created_at=now, expires_at=expires_at, tag=new_tag())
        record = runtime.records.encode(storage_id, state, runtime.records.codec.dumps(values))
        yield key, to_document(storage_id, record, None, now, as_json=False)
