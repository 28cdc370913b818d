"""
Sessions that are too large, servers without memory, times that memcached misunderstands.
"""

from __future__ import annotations

import base64
import random
import time
from contextlib import suppress
from typing import Any

import pytest

from django_distsession.clock import Clock
from django_distsession.exceptions import RecordTooLarge, StoreUnavailable
from django_distsession.stamps import Stamp
from django_distsession.stores.memcached import wire
from django_distsession.stores.memcached.connection import Connection
from django_distsession.stores.memcached.exchange import Exchange
from django_distsession.stores.memcached.protocol import Reply
from django_distsession.stores.record import Record
from testproject.servers import MemcachedNode

from .conftest import ask, contents, copies, holders, out_of_reach, store_of, stored

DAY = 24 * 3600


def incompressible(size: int, seed: int = 0) -> str:
    return base64.b64encode(random.Random(seed).randbytes(size)).decode()[:size]


def small(limit: str) -> list[str]:
    """
    Options of a server whose items are this large at the most.
    """
    return ["-I", limit, "-o", "slab_chunk_max=8192"]


@pytest.mark.parametrize("limit", ["1m", "64k"])
def test_a_session_over_the_limit_is_refused_before_it_is_sent(
    use: Any, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    with MemcachedNode(small(limit)) as node:
        sessions = use([node])
        key = stored(sessions, a=1)
        size = {"1m": 1024, "64k": 64}[limit] * 1024
        session = sessions(key)
        session["large"] = incompressible(int(size * 1.5))
        sent: list[bytes] = []
        send = Connection.send

        def noting(self: Connection, key: bytes, command: bytes, body: bytes, *by: Any) -> None:
            sent.append(body)
            send(self, key, command, body, *by)

        monkeypatch.setattr(Connection, "send", noting)
        with pytest.raises(RecordTooLarge) as raised:
            session.save()
        assert (raised.value.limit, raised.value.size > size) == (size, True)
        assert not any(sent)
        assert contents(sessions, key) == {"a": 1}
        # And the request may go on with less.
        session["large"] = "small"
        session.save()
        assert contents(sessions, key) == {"a": 1, "large": "small"}


@pytest.mark.parametrize("limit", ["8k", "64k", "600k", "1m", "4m"])
def test_what_just_fits_is_taken(use: Any, limit: str) -> None:
    with MemcachedNode([*small(limit), "-m", "128"]) as node:
        store = store_of(use([node]))
        store.get("x" * 64)
        (connection,) = store.nodes[0].pool._idle
        room = connection.item_limit - wire.HEADER.size - len(store._prefix) - 64 - 128
        later = int(time.time()) + DAY
        for step, less in enumerate((0, 1, 7, 48, 300)):
            record = Record(Stamp(1, "a" * 8), later, later, b"x" * (room - less))
            token = store.add(f"{step:064}", record)
            token = store.replace(f"{step:064}", record, token)
            found = store.get(f"{step:064}")
            assert found is not None
            assert found.record == record
        with pytest.raises(RecordTooLarge):
            store.add("y" * 64, Record(Stamp(1, "a" * 8), later, later, b"x" * (room + 1)))


def test_copies_that_are_too_large_together_are_still_read(use: Any) -> None:
    with MemcachedNode(small("16k")) as one, MemcachedNode(small("16k")) as two:
        sessions = use([one, two], RETRY_AFTER=1000)
        key = stored(sessions, a=1)
        nodes = store_of(sessions).nodes
        halves = [sessions(key), sessions(key)]
        for number, session in enumerate(halves):
            session[f"half {number}"] = incompressible(15_000, number)
        for number, session in enumerate(halves):
            # Two requests, each of which sees one server only.
            with out_of_reach(nodes[number]):
                session.save()
        for _ in range(2):
            assert contents(sessions, key).keys() == {"a", "half 0", "half 1"}
        session = sessions(key)
        session["b"] = 1
        with pytest.raises(RecordTooLarge):
            session.save()
        del session["half 0"]
        session.save()
        assert contents(sessions, key).keys() == {"a", "b", "half 1"}


def test_without_memory_a_save_is_refused_and_the_server_is_not_left_out(use: Any) -> None:
    with MemcachedNode(["-M", "-m", "2", "-I", "512k"]) as node:
        sessions = use([node])
        text = incompressible(400_000)
        with pytest.raises(StoreUnavailable, match="out of memory"):
            [stored(sessions, large=text) for _ in range(100)]
        assert all(server["up"] for server in sessions.status())
        assert "out of memory" in sessions.status()[0]["last_error"]
        assert sessions.status()[0]["missed"] == 1


def test_one_server_without_memory_costs_a_replica_and_no_request(use: Any) -> None:
    with MemcachedNode(["-M", "-m", "2", "-I", "512k"]) as full, MemcachedNode() as roomy:
        sessions = use([full, roomy])
        keys = [stored(sessions, large=incompressible(400_000), n=n) for n in range(20)]
        assert [contents(sessions, key)["n"] for key in keys] == list(range(20))
        missed = {server["server"]: server["missed"] for server in sessions.status()}
        assert missed[full.address]
        assert not missed[roomy.address]
        assert all(server["up"] for server in sessions.status())
        sessions(keys[0]).flush()
        sessions(keys[-1]).flush()
        assert contents(sessions, keys[0]) == contents(sessions, keys[-1]) == {}


def test_a_save_that_a_full_server_refuses_does_not_take_the_stored_session_with_it(
    use: Any,
) -> None:
    with MemcachedNode(["-M", "-m", "2", "-I", "512k"]) as node:
        sessions = use([node])
        keys: list[str] = []
        with suppress(StoreUnavailable):
            while True:
                keys.append(stored(sessions, text=incompressible(100_000, len(keys))))
        for key in keys[:5]:
            session = sessions(key)
            before = session["text"]
            session["more"] = 1
            with pytest.raises(StoreUnavailable, match="out of memory"):
                session.save()
            assert contents(sessions, key) == {"text": before}


@pytest.mark.parametrize("days", [29, 30, 31, 90, 20 * 365, 60 * 365])
def test_however_long_a_session_lives(use: Any, nodes: list[MemcachedNode], days: int) -> None:
    sessions = use(nodes)
    session = sessions()
    session["a"] = 1
    session.set_expiry(days * DAY)
    session.save()
    assert contents(sessions, session.session_key or "") == {"a": 1, "_session_expiry": days * DAY}
    assert set(copies(sessions, session.session_key or "").values()) == {"live", "absent"}


def test_what_is_sent_as_time_to_live() -> None:
    now = 1_800_000_000

    def ttl(expires_at: int, now: float) -> int:
        return wire.ttl(Record(Stamp(1, "t"), expires_at, 0), now)

    assert ttl(now + 60, now + 0.9) == 60 + wire.CLOCK_SKEW
    assert ttl(now - 60, now) == wire.CLOCK_SKEW
    longest = now + 30 * DAY - wire.CLOCK_SKEW
    assert ttl(longest, now) == 30 * DAY
    assert ttl(longest + 1, now) == longest + 1 + wire.CLOCK_SKEW
    assert ttl(2**40, now) == 2**31 - 1


def test_a_session_that_ends_with_the_browser_is_kept_for_the_cookie_age(
    use: Any, nodes: list[MemcachedNode], settings: Any
) -> None:
    settings.SESSION_COOKIE_AGE = 7200
    sessions = use(nodes)
    session = sessions()
    session["a"] = 1
    session.set_expiry(0)
    session.save()
    found = store_of(sessions).get(sessions.storage_id(session.session_key) or "")
    assert found is not None
    assert 7190 < found.record.expires_at - time.time() <= 7200
    assert session.get_expire_at_browser_close()


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_clocks_that_disagree_end_no_session_early(
    use: Any, nodes: list[MemcachedNode], ahead: int
) -> None:
    sessions = use(nodes)
    session = sessions()
    session["a"] = 1
    session.set_expiry(600)
    session.save()
    key = session.session_key or ""
    # Those of a web server whose clock is wrong.
    clock = Clock(now=lambda: time.time() + ahead)
    elsewhere: Any = type("Elsewhere", (sessions,), {"clock": clock})
    assert contents(elsewhere, key) == {"a": 1, "_session_expiry": 600}
    late = elsewhere(key)
    late["b"] = 2
    late.save()
    # Copies that were put together there live on here, too.
    victim = holders(sessions, key, nodes)[0]
    ask(sessions, key, victim.address, b"md %b")
    assert contents(elsewhere, key)["b"] == 2
    assert contents(sessions, key)["b"] == 2
    assert set(copies(sessions, key).values()) == {"live", "absent"}


@pytest.mark.parametrize("age", [2.5, 1000.0, 10**11, 10**20, -(10**12)])
def test_ages_that_are_no_seconds_of_this_world(
    use: Any, nodes: list[MemcachedNode], age: Any
) -> None:
    sessions = use(nodes)
    key = stored(sessions, a=1)
    session = sessions(key)
    session.set_expiry(age)
    session.save()
    assert ("a" in sessions(key)) == (age > 0)
    sessions(key).delete(key)
    assert contents(sessions, key) == {}


def test_a_cookie_age_with_a_fraction(use: Any, nodes: list[MemcachedNode], settings: Any) -> None:
    settings.SESSION_COOKIE_AGE = 1209600.5
    sessions = use(nodes)
    assert contents(sessions, stored(sessions, a=1)) == {"a": 1}


@pytest.mark.parametrize("field", ["expires_at", "retain_until"])
def test_a_record_with_a_damaged_time_can_be_ended(
    use: Any, nodes: list[MemcachedNode], field: str
) -> None:
    sessions = use(nodes)
    key = stored(sessions, a=1)
    storage_id = sessions.storage_id(key) or ""
    found = store_of(sessions).get(storage_id)
    assert found is not None
    changes: dict[str, Any] = {field: 2**64 - 1}
    damaged = found.record._replace(**changes)
    store_of(sessions).replace(storage_id, damaged, found.token)
    sessions(key).delete(key)
    assert copies(sessions, key)
    assert contents(sessions, key) == {}


def test_a_server_whose_clock_stood_still_does_not_prolong_a_session(
    use: Any, nodes: list[MemcachedNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = use(nodes[:2])
    key = stored(sessions, a=1)
    storage_id = sessions.storage_id(key) or ""
    before = store_of(sessions).get(storage_id)
    assert before is not None
    first = store_of(sessions).nodes[0].name

    perform = Exchange.perform

    def first_counts_late(exchange: Exchange) -> list[Reply | None]:
        return [
            reply and reply._replace(ttl=reply.ttl + 1000 * (node.name == first))
            for (node, _), reply in zip(exchange.commands, perform(exchange), strict=True)
        ]

    monkeypatch.setattr(Exchange, "perform", first_counts_late)
    found = store_of(sessions).get(storage_id)
    assert found is not None
    assert found.record.expires_at == before.record.expires_at
