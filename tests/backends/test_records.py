"""
A new `SECRET_KEY` on its way to the processes of a site, some of which do not know it yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
from pymemcache.client.base import Client

from django_distsession.backends.base import StoreBackedSession
from django_distsession.backends.records import Records
from django_distsession.codecs import SignedCodec
from django_distsession.exceptions import StoreUnavailable, UnreadableCopy
from django_distsession.state import State, first_state, new_tag, next_state
from django_distsession.stores.record import Record
from testproject.servers import MemcachedNode

from ..conftest import engine_class, stored
from ..sessions import contents

STORAGE_ID = "a" * 64
OLD, NEW = "old" * 20, "new" * 20


@pytest.fixture
def old(settings: Any) -> Records:
    settings.SECRET_KEY = OLD
    return Records(SignedCodec())


@pytest.fixture
def new(settings: Any) -> Records:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    return Records(SignedCodec())


FIRST = first_state({"a": 1}, created_at=1, expires_at=9, tag=new_tag())


def after(state: State, tag: str = "t" * 8) -> State:
    return next_state(state, {"a": 2}, changed={"a"}, expires_at=10, tag=tag)


def protected(records: Records, state: State) -> Record:
    return records.encode(STORAGE_ID, state, records.codec.dumps(state.values))


@pytest.mark.parametrize("tags", ["xy", "yx"])
def test_a_newer_copy_under_an_unknown_key_is_an_outage(
    old: Records, new: Records, tags: str
) -> None:
    known, unknown = (after(FIRST, tag * 8) for tag in tags)
    later = protected(new, after(unknown))
    # Of one generation: neither saw the other.
    beside = protected(new, unknown)
    for copies in ([later], [beside], [later, beside]):
        for order in permutations([protected(old, FIRST), protected(old, known), *copies]):
            with pytest.raises(UnreadableCopy, match="SECRET_KEY"):
                old.merge(STORAGE_ID, order)
            merged = new.merge(STORAGE_ID, order)
            assert merged is not None
            assert merged.version.generation == max(copy.version.generation for copy in order)


def test_an_older_copy_that_cannot_be_read_is_replaced(old: Records, new: Records) -> None:
    good, bad = protected(old, after(FIRST)), protected(new, FIRST)
    assert old.merge(STORAGE_ID, [good, bad]) == old.merge(STORAGE_ID, [bad, good]) == good


def test_a_damaged_copy_of_the_same_version_is_replaced(old: Records) -> None:
    good = protected(old, FIRST)
    bad = good._replace(payload=b"?" + good.payload[1:])
    assert old.merge(STORAGE_ID, [good, bad]) == old.merge(STORAGE_ID, [bad, good]) == good


def test_copies_of_which_none_can_be_read_are_no_session(old: Records, new: Records) -> None:
    copies = [protected(new, FIRST), protected(new, after(FIRST))]
    assert old.merge(STORAGE_ID, copies) is None


@pytest.fixture
def replicas(nodes: list[MemcachedNode]) -> Iterator[list[Client]]:
    clients = [Client(node.address, default_noreply=False) for node in nodes]
    yield clients
    for client in clients:
        client.close()


def test_a_replica_with_a_newer_copy_is_left_alone(
    settings: Any, distsession: dict[str, Any], replicas: list[Client]
) -> None:
    settings.SECRET_KEY = OLD
    key = stored(engine_class(settings, "memcached"), a=1)
    sessions = engine_class(settings, "memcached")
    name = f"{distsession['NAMESPACE']}:{sessions.storage_id(key)}"
    first, second = (replica for replica in replicas if replica.get(name))
    before = first.get(name)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    session = sessions(key)
    session["a"] = 2
    session.save()
    first.set(name, before)
    newer = second.get(name)

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OLD, []
    session = sessions(key)
    with pytest.raises(StoreUnavailable, match="SECRET_KEY_FALLBACKS"):
        session.load()
    assert session.session_key == key
    assert (first.get(name), second.get(name)) == (before, newer)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    assert contents(sessions, key) == {"a": 2}


def test_a_save_that_meets_a_newer_copy_is_an_outage(
    settings: Any, session_class: type[StoreBackedSession]
) -> None:
    settings.SECRET_KEY = OLD
    key = stored(session_class, a=1)
    session = session_class(key)
    session["a"] = "older"
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    other = session_class(key)
    other["a"] = 2
    other.save()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OLD, []
    with pytest.raises(UnreadableCopy):
        session.save()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    assert contents(session_class, key) == {"a": 2}


def test_who_comes_with_a_session_of_an_unknown_key_can_log_in(
    settings: Any, session_class: type[StoreBackedSession]
) -> None:
    settings.SECRET_KEY = OLD
    key = stored(session_class, a=1)
    settings.SECRET_KEY = NEW
    session = session_class(key)
    assert session.load() == {}
    session = session_class(key)
    session["user"] = 1
    session.save()
    assert session.session_key not in (None, key)
    assert contents(session_class, session.session_key or "") == {"user": 1}
    # What is there is left to whoever knows the other key.
    settings.SECRET_KEY = OLD
    assert contents(session_class, key) == {"a": 1}


def test_a_soft_time_limit_in_the_middle_of_decoding_is_no_damage(old: Records) -> None:
    class SoftTimeLimitExceeded(Exception):
        pass

    record, loads, limits = protected(old, FIRST), old.codec.loads, [SoftTimeLimitExceeded()]

    def interrupted(data: bytes) -> Any:
        if limits:
            raise limits.pop()
        return loads(data)

    old.codec.loads = interrupted  # type: ignore[method-assign]
    with pytest.raises(SoftTimeLimitExceeded):
        old.decode(STORAGE_ID, record)
    assert old.decode(STORAGE_ID, record) is not None
