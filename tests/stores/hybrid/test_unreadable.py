"""
Copies that this process cannot read, and others may: they are written over by nobody.
"""

from __future__ import annotations

import pytest

from django_distsession.exceptions import UnreadableCopy
from django_distsession.stores.contract import Versioned
from django_distsession.stores.record import Record
from tests.stores.hybrid.conftest import Tiers, contents, create, hybrid_store, storage_id
from tests.stores.hybrid.fakes import one_shot


def refuse() -> None:
    raise UnreadableCopy


def test_a_copy_that_cannot_be_read_here_is_left_to_who_can(either: Tiers) -> None:
    process = either.process()
    either.durable.up = False
    key = create(process, a=1)
    either.durable.up = True
    record, token = either.cache.held[storage_id(key)]
    unreadable = Record(record.version, record.expires_at, record.created_at, b"?", unsynced=True)
    either.cache.held[storage_id(key)] = Versioned(unreadable, token)
    assert contents(process, key) is None
    assert either.cached(key) == unreadable
    assert either.stored(key) is None


def unreadable_in_cache(either: Tiers, key: str) -> Record:
    """
    Let the cache alone take a save that only other processes can read.
    """
    record, token = either.cache.held[storage_id(key)]
    version = record.version._replace(generation=record.version.generation + 1)
    newer = record._replace(version=version, payload=b"?", unsynced=True)
    either.cache.held[storage_id(key)] = newer, token
    return newer


def test_a_newer_copy_that_cannot_be_read_here_is_an_outage(either: Tiers) -> None:
    process = either.process()
    key = create(process, a=1)
    newer, durable = unreadable_in_cache(either, key), either.stored(key)
    with pytest.raises(UnreadableCopy):
        contents(process, key)
    with pytest.raises(UnreadableCopy):
        hybrid_store(process).refresh(storage_id(key), 0)
    assert (either.cached(key), either.stored(key)) == (newer, durable)


def test_copies_that_cannot_be_read_here_are_left_as_they_are(either: Tiers) -> None:
    process = either.process()
    key = create(process, a=1)
    newer = unreadable_in_cache(either, key)
    record, token = either.durable.held[storage_id(key)]
    unreadable = record._replace(payload=b"?")
    either.durable.held[storage_id(key)] = unreadable, token
    assert contents(process, key) is None
    assert (either.cached(key), either.stored(key)) == (newer, unreadable)


def test_a_cache_with_a_newer_copy_that_cannot_be_read_here_is_not_passed_by(
    tiers: Tiers,
) -> None:
    process = tiers.process()
    key = create(process, a=1)
    one_shot(tiers.cache, "get", refuse)
    tiers.durable.calls.clear()
    with pytest.raises(UnreadableCopy):
        contents(process, key)
    assert tiers.durable.calls == []
