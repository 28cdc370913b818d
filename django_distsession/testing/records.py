"""
Records for tests. Each holds a set of words, so that a merge is their union and nothing that was
stored can get lost unnoticed.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Sequence

from ..clock import SYSTEM_CLOCK, Clock
from ..stamps import Stamp
from ..state import new_tag
from ..stores.record import Record

HOUR = 3600


def make_record(
    *words: str,
    generation: int = 1,
    expires_in: int = HOUR,
    user: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Record:
    """
    Return a record that no other call returns.

    generation: as of its version. expires_in: seconds from now; it expired where negative.
    """
    now = int(clock.now())
    payload = "\n".join(sorted(words)).encode()
    version = Stamp(generation, new_tag())
    return Record(version, now + expires_in, min(now, now + expires_in), payload, user)


def with_word(record: Record, word: str) -> Record:
    """
    Return the next record of the session, with one word more, and nobody logged in any more.
    """
    payload = "\n".join(sorted(entries(record) | {word})).encode()
    version = Stamp(record.version.generation + 1, new_tag())
    return record._replace(version=version, payload=payload, user=None)


def entries(record: Record) -> set[str]:
    """
    Return the words in a record.
    """
    return set(record.payload.decode().split("\n")) - {""}


def merge(storage_id: str, records: Sequence[Record]) -> Record:
    """
    Return the record with the words of all. A store that keeps several copies is given this.

    Like that of the engines: the same copies give the same bytes, and where one copy has it all, it
    is that one.
    """
    words = set().union(*map(entries, records))
    latest = max(records, key=lambda record: record.version)
    longest = max(record.retention_deadline for record in records)
    for record in sorted(records, reverse=True):
        if entries(record) == words:
            return record.retained_until(longest)
    payload = "\n".join(sorted(words)).encode()
    tag = urlsafe_b64encode(hashlib.blake2b(payload, digest_size=6).digest()).decode()
    version = Stamp(latest.version.generation, tag)
    return latest._replace(version=version, payload=payload).retained_until(longest)
