"""
What holds for sessions on every engine.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.sessions.backends.base import CreateError, UpdateError

from django_distsession.backends.base import StoreBackedSession
from django_distsession.backends.records import CLOCK_SKEW
from django_distsession.clock import Clock
from django_distsession.exceptions import StoreUnavailable
from django_distsession.stamps import Stamp
from django_distsession.stores.contract import Store
from django_distsession.stores.record import Record
from tests.conftest import stored
from tests.interposing import interposed

Engine = type[StoreBackedSession]

SUSPICIOUS = "django.security.SuspiciousSession"


class Calls:
    """
    Counts the calls that reach a store.
    """

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        for name in ("get", "add", "replace", "end"):
            monkeypatch.setattr(store, name, self._counted(name, getattr(store, name)))

    def _counted(self, name: str, method: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.names.append(name)
            return method(*args, **kwargs)

        return counted

    def __eq__(self, other: object) -> bool:
        names, self.names = self.names, []
        return names == other


@pytest.fixture
def calls(session_class: Engine, monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(interposed(session_class), monkeypatch)


def set_clock(session_class: Engine, now: float) -> None:
    """
    Have this engine's sessions take it to be this moment, until settings change.
    """
    session_class.runtime.clock = Clock(now=lambda: now)


def contents(session_class: Engine, key: str) -> dict[str, Any]:
    return dict(session_class(key).items())


def test_creating_takes_one_write(session_class: Engine, calls: Calls) -> None:
    stored(session_class, a=1)
    assert calls == ["add"]


def test_loading_and_saving_takes_one_read_and_one_write(
    session_class: Engine, calls: Calls
) -> None:
    session = session_class(stored(session_class, a=1))
    calls.names.clear()
    session["a"] = 2
    session.save()
    assert calls == ["get", "replace"]
    session["a"] = 3
    session.save()
    assert calls == ["replace"]
    assert contents(session_class, session.session_key or "") == {"a": 3}


def test_writing_what_is_there_writes_nothing(session_class: Engine, calls: Calls) -> None:
    session = session_class(stored(session_class, a=1, cart=["tea"], on=True))
    session["a"] = 1
    session["cart"] = ["tea"]
    session["on"] = True
    calls.names.clear()
    session.save()
    assert calls == []


@pytest.mark.parametrize(
    ("before", "after"),
    [(1, True), (True, 1), (1, 1.0), (0, False), ([1], [True]), ({"n": 1}, {"n": 1.5}), ("", None)],
)
def test_a_value_of_another_type_is_a_change(
    session_class: Engine, before: Any, after: Any
) -> None:
    key = stored(session_class, value=before)
    session = session_class(key)
    session["value"] = after
    session.save()
    value = contents(session_class, key)["value"]
    assert value == after
    assert type(value) is type(after)


def test_a_list_that_changed_in_place_is_written(session_class: Engine) -> None:
    key = stored(session_class, cart=["tea"], deep={"a": {"b": [1]}})
    session = session_class(key)
    session["cart"].append("milk")
    session["deep"]["a"]["b"].append(2)
    session.save()
    assert contents(session_class, key) == {"cart": ["tea", "milk"], "deep": {"a": {"b": [1, 2]}}}
    session["cart"].remove("tea")
    session.save()
    assert contents(session_class, key)["cart"] == ["milk"]


def test_concurrent_requests_that_change_different_keys_both_survive(
    session_class: Engine,
) -> None:
    key = stored(session_class, base=1, gone=1)
    one, two, three = session_class(key), session_class(key), session_class(key)
    for session in (one, two, three):
        session.keys()
    one["one"] = 1
    two["two"] = 2
    del three["gone"]
    for session in (one, two, three):
        session.save()
    assert contents(session_class, key) == {"base": 1, "one": 1, "two": 2}


def test_for_one_key_the_last_save_wins(session_class: Engine) -> None:
    key = stored(session_class, who="")
    for turn in range(6):
        one, two = session_class(key), session_class(key)
        one["who"], two["who"] = f"one {turn}", f"two {turn}"
        one.save()
        assert contents(session_class, key) == {"who": f"one {turn}"}
        two.save()
        assert contents(session_class, key) == {"who": f"two {turn}"}


def test_after_a_save_the_session_shows_what_others_changed(session_class: Engine) -> None:
    key = stored(session_class, mine=["x"], theirs=1, dropped=1)
    session, other = session_class(key), session_class(key)
    mine = session["mine"]
    other["theirs"] = 2
    other["new"] = 3
    del other["dropped"]
    other.save()
    mine.append("y")
    session.save()
    assert dict(session.items()) == {"mine": ["x", "y"], "theirs": 2, "new": 3}
    mine.append("z")
    session.save()
    assert contents(session_class, key) == {"mine": ["x", "y", "z"], "theirs": 2, "new": 3}


def test_what_others_changed_is_not_written_back(session_class: Engine) -> None:
    key = stored(session_class, flag=1, list=[1])
    session, other = session_class(key), session_class(key)
    session["mine"] = 1
    other["flag"], other["list"] = True, [True]
    other.save()
    session.save()
    session["mine"] = 2
    session.save()
    assert contents(session_class, key)["flag"] is True
    assert contents(session_class, key)["list"][0] is True


def test_no_update_of_many_threads_is_lost(session_class: Engine) -> None:
    key = stored(session_class)
    threads, rounds = 8, 10
    start = threading.Barrier(threads)

    def work(number: int) -> None:
        for turn in range(rounds):
            session = session_class(key)
            session.keys()
            if turn == 0:
                start.wait()
            session[f"{number}.{turn}"] = turn
            session.save()

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, number) for number in range(threads)]:
            done.result()
    assert len(contents(session_class, key)) == threads * rounds


def test_clearing_and_refilling_leaves_only_what_is_new(session_class: Engine) -> None:
    key = stored(session_class, old=1)
    other = session_class(key)
    other.keys()
    session = session_class(key)
    session.clear()
    session["new"] = 1
    session.save()
    assert contents(session_class, key) == {"new": 1}
    other["old"] = 1
    other.save()
    assert contents(session_class, key) == {"new": 1}


def test_clearing_outlives_what_others_add_meanwhile(session_class: Engine) -> None:
    key = stored(session_class, old=1)
    session, other = session_class(key), session_class(key)
    session.keys()
    session.clear()
    session["new"] = 1
    other["aside"] = 1
    other.save()
    session.save()
    assert contents(session_class, key) == {"new": 1}


def test_an_ended_session_stays_ended(session_class: Engine) -> None:
    key = stored(session_class, a=1)
    late = session_class(key)
    late.keys()
    session_class(key).flush()
    assert not session_class(key).exists(key)
    assert contents(session_class, key) == {}
    late["a"] = 2
    with pytest.raises(UpdateError):
        late.save()
    assert contents(session_class, key) == {}
    with pytest.raises(CreateError):
        session_class(key).save(must_create=True)


def test_flushing_a_loaded_session_takes_one_write(session_class: Engine, calls: Calls) -> None:
    key = stored(session_class, a=1)
    session = session_class(key)
    session.keys()
    calls.names.clear()
    session.flush()
    assert calls == ["end"]
    assert session.session_key is None


def test_deleting_what_does_not_exist_does_nothing(session_class: Engine, calls: Calls) -> None:
    session_class("x" * 32).delete()
    assert calls == ["get"]
    session_class().delete()
    assert calls == []


def test_a_tombstone_outlives_the_session_and_holds_nothing_of_it(session_class: Engine) -> None:
    session = session_class()
    session["_auth_user_id"] = "42"
    session.set_expiry(90 * 24 * 3600)
    session.save()
    assert session.session_key is not None
    storage_id = session_class.storage_id(session.session_key)
    assert storage_id is not None
    before = session_class.get_store().get(storage_id)
    assert before is not None
    session_class().delete(session.session_key)
    found = session_class.get_store().get(storage_id)
    assert found is not None
    tombstone = found.record
    assert tombstone.ended
    assert tombstone.expires_at >= before.record.expires_at
    assert (tombstone.payload, tombstone.user) == (b"", None)


def test_cycling_the_key_keeps_the_data_and_ends_the_old_session(session_class: Engine) -> None:
    session = session_class(stored(session_class, a=1))
    old = session.session_key or ""
    session.cycle_key()
    assert session.session_key != old
    assert contents(session_class, session.session_key or "") == {"a": 1}
    assert not session.exists(old)


def test_the_lifetime_is_extended_once_per_interval(session_class: Engine, calls: Calls) -> None:
    now = time.time()
    set_clock(session_class, now)
    key = stored(session_class, a=1)
    set_clock(session_class, now + 299)
    session = session_class(key)
    session.keys()
    calls.names.clear()
    session.save()
    assert calls == []
    set_clock(session_class, now + 301)
    session.save()
    assert calls == ["replace"]
    session.save()
    assert calls == []
    session_class(key).save()
    assert calls == ["get"]


def test_a_short_session_is_extended_before_it_runs_out(session_class: Engine) -> None:
    session = session_class()
    session.set_expiry(60)
    session.save()
    assert session.loaded is not None
    before = session.loaded.record.expires_at
    set_clock(session_class, time.time() + 7)
    session.save()
    assert session.loaded.record.expires_at >= before + 7


def test_a_shortened_session_is_remembered_as_long_as_longer_copies_live(
    session_class: Engine,
) -> None:
    # Longer than sessions live that nobody said anything of.
    session = session_class()
    session.set_expiry(40 * 24 * 3600)
    session.save()
    key = session.session_key or ""
    storage_id = session_class.storage_id(key) or ""
    store = session_class.get_store()

    def held() -> Record:
        found = store.get(storage_id)
        assert found is not None
        return found.record

    longest = held().expires_at
    session = session_class(key)
    session.set_expiry(60)
    session.save()
    assert held().expires_at < longest <= held().retention_deadline
    # Nor does a later save forget it, or a logout by somebody who never saw the longer one.
    session = session_class(key)
    session["a"] = 2
    session.save()
    assert held().expires_at < longest <= held().retention_deadline
    session_class(key).delete(key)
    assert held().ended
    assert held().expires_at > longest


def test_an_expired_session_is_no_session(session_class: Engine) -> None:
    session = session_class()
    session["a"] = 1
    session.set_expiry(-1)
    session.save()
    key = session.session_key or ""
    assert not session.exists(key)
    expired = session_class(key)
    assert expired.load() == {}
    assert expired.session_key is None


def test_the_key_of_an_expired_session_may_be_taken_again(session_class: Engine) -> None:
    for turn in range(8):
        session = session_class()
        session["old"] = turn
        session.set_expiry(-1)
        session.save()
        again = session_class(session.session_key)
        again.save(must_create=True)
        assert again.exists(session.session_key or "")
        assert contents(session_class, session.session_key or "") == {}


def test_sessions_beyond_30_days_live(session_class: Engine) -> None:
    session = session_class()
    session.set_expiry(60 * 24 * 3600)
    session.save()
    assert session.exists(session.session_key or "")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "abcdefg",
        "x" * 10_000,
        "sitzungsschlüssel",
        "abcdefgh\r\nset x 0 0 1\r\n1",
        "abcdefgh\0",
        "_design/distsession_expiry",
        "../_all_docs",
        "abcdefgh?rev=1",
        "\ud800" * 8,
        "abcdefgh ijk",
    ],
)
@pytest.mark.parametrize("hash_keys", [True, False])
def test_an_odd_cookie_is_no_session(
    session_class: Engine, configure: Any, key: str, hash_keys: bool
) -> None:
    configure(HASH_KEYS=hash_keys)
    session = session_class(key)
    assert session.load() == {} if session.session_key else not session.session_key
    assert session.get("a") is None
    assert session.session_key is None
    assert not session.exists(key)
    session.delete(key)
    session["a"] = 1
    session.save()
    assert session.session_key != key
    assert contents(session_class, session.session_key or "") == {"a": 1}


def test_an_ill_formed_key_causes_no_io_where_keys_are_not_hashed(
    session_class: Engine, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(HASH_KEYS=False)
    calls = Calls(interposed(session_class), monkeypatch)
    session = session_class("_design/x")
    assert session.load() == {}
    assert calls == []


def test_keys_are_stored_as_they_are_where_a_site_wants_it(
    session_class: Engine, configure: Any
) -> None:
    configure(HASH_KEYS=False)
    key = stored(session_class, a=1)
    assert session_class.get_store().get(key) is not None
    assert contents(session_class, key) == {"a": 1}


def replace_record(session_class: Engine, key: str, **changes: Any) -> None:
    storage_id = session_class.storage_id(key) or ""
    found = session_class.get_store().get(storage_id)
    assert found is not None
    changed: Record = found.record._replace(**changes)
    session_class.get_store().replace(storage_id, changed, found.token)


@pytest.mark.parametrize("damage", ["altered", "truncated", "empty", "foreign"])
def test_a_damaged_record_is_reported_and_is_no_session(
    session_class: Engine, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    key, other = stored(session_class, word="tellnobody"), stored(session_class, word="other")
    found = session_class.get_store().get(session_class.storage_id(key) or "")
    foreign = session_class.get_store().get(session_class.storage_id(other) or "")
    assert found is not None
    assert foreign is not None
    payload = found.record.payload
    damaged = {
        "altered": bytes([payload[0] ^ 1]) + payload[1:],
        "truncated": payload[:-1],
        "empty": b"",
        "foreign": foreign.record.payload,
    }[damage]
    replace_record(session_class, key, payload=damaged, version=Stamp(9, "x" * 8))
    session = session_class(key)
    with caplog.at_level(logging.DEBUG):
        assert session.load() == {}
    assert session.session_key is None
    assert [record.name for record in caplog.records if record.levelno >= logging.WARNING] == [
        SUSPICIOUS
    ]
    assert "tellnobody" not in caplog.text
    assert key not in caplog.text


def test_a_prolonged_record_is_no_session(session_class: Engine) -> None:
    session = session_class()
    session.set_expiry(-CLOCK_SKEW)
    session.save()
    key = session.session_key or ""
    replace_record(session_class, key, expires_at=int(time.time()) + 1000)
    assert session_class(key).load() == {}


@pytest.mark.parametrize("create", [False, True])
def test_what_cannot_be_serialised_changes_nothing(
    session_class: Engine, calls: Calls, create: bool
) -> None:
    key = stored(session_class, a=1)
    session = session_class() if create else session_class(key)
    session["a"] = object()
    session.accessed = True
    calls.names.clear()
    with pytest.raises(TypeError):
        session.save()
    assert calls == []
    assert contents(session_class, key) == {"a": 1}


def test_keys_that_are_no_text_become_text_as_in_json(session_class: Engine) -> None:
    session = session_class()
    session[1] = "one"
    session["1"] = "text"
    session.save()
    assert contents(session_class, session.session_key or "") == {"1": "text"}
    session["two"] = 2
    session.save()
    assert contents(session_class, session.session_key or "") == {"1": "text", "two": 2}


def test_async_calls_use_threads_of_their_own(session_class: Engine) -> None:
    names: set[str] = set()

    class Watching(session_class):  # type: ignore[misc,valid-type]
        def load(self) -> dict[str, Any]:
            names.add(threading.current_thread().name)
            loaded: dict[str, Any] = super().load()
            return loaded

    async def scenario() -> None:
        session = session_class()
        await session.aset("a", 1)
        await session.asave()
        key = session.session_key or ""
        sessions = [Watching(key) for _ in range(4)]
        assert [await one.aget("a") for one in sessions] == [1] * 4
        for number, one in enumerate(sessions):
            await one.aset(f"k{number}", number)
        await asyncio.gather(*(one.asave() for one in sessions))
        assert len(await session_class(key).aload()) == 5
        assert await session.aexists(key)
        await session.acycle_key()
        assert not await session.aexists(key)
        assert (await session.ainspect())["version"]
        await session.aflush()
        assert session.session_key is None
        await session_class.aclear_expired()

    async_to_sync(scenario)()
    assert names
    assert all(name.startswith("distsession") for name in names)


def test_inspect_tells_where_a_session_lives(session_class: Engine) -> None:
    session = session_class()
    assert session.inspect()["copies"] == []
    session["a"] = 1
    session.save()
    about = session.inspect()
    assert about["storage_id"] == session_class.storage_id(session.session_key or "")
    live = [copy for copy in about["copies"] if copy["state"] == "live"]
    assert live
    assert all(copy["version"] == about["version"] for copy in live)
    session_class(session.session_key).flush()
    assert "live" not in {copy["state"] for copy in session.inspect()["copies"]}


def test_an_unavailable_store_is_not_an_empty_session(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stored(session_class, a=1)

    def fail(*args: Any) -> Any:
        raise StoreUnavailable("down")

    monkeypatch.setattr(interposed(session_class), "get", fail)
    session = session_class(key)
    with pytest.raises(StoreUnavailable):
        session.load()
    assert session.session_key == key
    assert not session.is_empty()
