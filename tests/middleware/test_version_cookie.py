"""
The version cookie: no copy older than what a browser has seen, while any store has a newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_distsession import conf, version_cookie
from django_distsession.backends.base import StoreBackedSession
from django_distsession.stores.contract import Versioned
from django_distsession.stores.hybrid import HybridStore
from testproject.servers import MemcachedNode, memcached_nodes
from tests.stores.hybrid.fakes import call

from ..conftest import engine_class
from ..sessions import Calls, Engine, interposed
from .conftest import Browser

SESSION, VERSION = "sessionid", "sessionid_version"


@pytest.fixture(autouse=True)
def _on(configure: Any, session_class: Engine) -> None:
    configure(VERSION_COOKIE=True)


@pytest.fixture
def calls(_on: None, session_class: Engine, monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(interposed(session_class), monkeypatch)


def generation(browser: Browser, session_class: Engine) -> int:
    storage_id = session_class.storage_id(browser.cookies[SESSION].value)
    assert storage_id
    return version_cookie.read(browser.cookies[VERSION].value, storage_id)


def test_the_cookie_names_the_generation_last_written(
    browser: Browser, session_class: Engine
) -> None:
    assert VERSION in browser.get("/fill/").cookies
    assert generation(browser, session_class) == 1
    browser.get("/write/")
    assert generation(browser, session_class) == 2


@pytest.mark.parametrize("path", ["/untouched/", "/read/", "/same/"])
def test_the_cookie_is_left_alone_where_nothing_is_written(browser: Browser, path: str) -> None:
    browser.get("/fill/")
    assert VERSION not in browser.get(path).cookies


def test_the_cookie_is_set_where_the_view_saves(browser: Browser, session_class: Engine) -> None:
    browser.get("/fill/")
    assert list(browser.get("/save/").cookies) == [VERSION]
    assert generation(browser, session_class) == 2


@pytest.mark.parametrize("path", ["/write/", "/expire_with_browser/"])
def test_the_cookie_has_the_attributes_of_the_session_cookie(
    browser: Browser, settings: Any, path: str
) -> None:
    settings.SESSION_COOKIE_DOMAIN = ".example.com"
    settings.SESSION_COOKIE_PATH = "/shop/"
    settings.SESSION_COOKIE_SECURE = True
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    cookies = browser.get(path).cookies
    attributes = {name: dict(cookies[name].items()) for name in (SESSION, VERSION)}
    for of_cookie in attributes.values():
        of_cookie.pop("expires")
    assert attributes[SESSION] == attributes[VERSION]
    assert attributes[SESSION]["httponly"] is True


def test_both_cookies_are_deleted_together(browser: Browser) -> None:
    browser.get("/fill/")
    cookies = browser.get("/flush/").cookies
    assert [cookies[name]["max-age"] for name in (SESSION, VERSION)] == [0, 0]


def test_a_session_under_a_new_key_has_a_new_cookie(
    browser: Browser, session_class: Engine, customer: Any
) -> None:
    browser.get("/fill/")
    for _ in range(3):
        browser.get("/write/")
    assert generation(browser, session_class) == 4
    browser.get("/log_in/")
    assert generation(browser, session_class) == 2


def test_there_is_no_cookie_unless_it_is_asked_for(browser: Browser, configure: Any) -> None:
    configure(VERSION_COOKIE=False)
    assert list(browser.get("/fill/").cookies) == [SESSION]


def test_the_setting_is_true_or_false(settings: Any, configure: Any) -> None:
    configure(VERSION_COOKIE="yes")
    (problem,) = conf.problems()
    assert problem.setting == 'DISTSESSION["VERSION_COOKIE"]'
    assert "True or False" in problem.message


def go_back(session_class: Engine, key: str) -> Callable[[], None]:
    """
    Return a function after which the store's `get` shows the session as it is now.
    """
    store: Any = interposed(session_class)
    storage_id = session_class.storage_id(key)
    assert storage_id
    found = store.get(storage_id)

    def back() -> None:
        store.get = lambda storage_id: found

    return back


def test_a_load_whose_copy_is_too_old_looks_further(
    browser: Browser, session_class: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    browser.get("/fill/")
    store: Any = interposed(session_class)
    newest = store.get
    back = go_back(session_class, browser.cookies[SESSION].value)
    browser.get("/write/")
    refreshed: list[int] = []

    def refresh(storage_id: str, at_least: int) -> Any:
        refreshed.append(at_least)
        return newest(storage_id)

    store.refresh = refresh
    back()
    browser.get("/write/")
    assert refreshed == [2]
    store.get = newest
    assert session_class(browser.cookies[SESSION].value)["b"] == 2
    assert session_class.stale_loads() == 0
    assert "older than its browser" not in caplog.text


def test_an_older_copy_is_used_counted_and_logged_if_no_store_has_a_newer_one(
    browser: Browser, session_class: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    browser.get("/fill/")
    store: Any = interposed(session_class)
    back = go_back(session_class, browser.cookies[SESSION].value)
    browser.get("/write/")
    back()
    store.refresh = lambda storage_id, at_least: None
    assert browser.get("/read/").content == b"1"
    assert session_class.stale_loads() == 1
    assert caplog.text.count("generation 1 instead of 2") == 1


@pytest.mark.parametrize("value", ["", "9", "9:nonsense", "x" * 9000, "9:\u00e9", "-1"])
def test_tampering_is_ignored_like_an_absent_cookie(
    browser: Browser, calls: Calls, value: str
) -> None:
    browser.get("/fill/")
    browser.cookies[VERSION] = value
    calls.names.clear()
    assert browser.get("/read/").content == b"1"
    assert calls == ["get"]


def test_the_cookie_of_another_session_is_ignored(browser: Browser, calls: Calls) -> None:
    browser.get("/fill/")
    browser.cookies[VERSION] = version_cookie.sign("f" * 64, 99)
    calls.names.clear()
    assert browser.get("/read/").content == b"1"
    assert calls == ["get"]


def test_an_ended_session_is_not_looked_for_any_further(
    browser: Browser, session_class: Engine, calls: Calls
) -> None:
    browser.get("/fill/")
    browser.get("/write/")
    session_class(browser.cookies[SESSION].value).flush()
    calls.names.clear()
    assert browser.get("/read/").content == b"None"
    assert calls == ["get"]


class TestWithServersOfOurOwn:
    @pytest.fixture
    def pair(self) -> Iterator[list[MemcachedNode]]:
        with memcached_nodes(2) as running:
            yield running

    @pytest.fixture(params=["memcached"])
    def session_class(
        self,
        request: pytest.FixtureRequest,
        settings: Any,
        distsession: dict[str, Any],
        pair: list[MemcachedNode],
        configure: Any,
    ) -> type[StoreBackedSession]:
        servers = [node.address for node in pair]
        # Nobody asks a failed server again of his own accord within this test.
        configure(MEMCACHED={"SERVERS": servers, "RETRY_AFTER": 3600, "TIMEOUT": 0.3})
        return engine_class(settings, request.param)

    @pytest.fixture
    def torn(self, browser: Browser, pair: list[MemcachedNode], session_class: Engine) -> Browser:
        """
        A session whose older copy is on the first server, and whose newer one on the second.
        """
        browser.get("/fill/")
        pair[0].pause()
        browser.get("/write/")
        pair[1].pause()
        pair[0].resume()
        # To this process the second server is down from now on, and the first one is up.
        store: Any = session_class.get_store()
        store.nodes[0].breaker.succeeded()
        store.nodes[1].breaker.failed(TimeoutError())
        store.close()
        return browser

    def test_a_replica_that_is_left_out_is_asked_again(
        self, torn: Browser, pair: list[MemcachedNode], session_class: Engine
    ) -> None:
        pair[1].resume()
        torn.get("/write/")
        assert session_class(torn.cookies[SESSION].value)["b"] == 2
        assert session_class.stale_loads() == 0

    def test_an_older_copy_is_not_served_while_a_server_that_hangs_may_have_a_newer_one(
        self, torn: Browser, session_class: Engine
    ) -> None:
        assert torn.get("/read/").status_code == 503

    def test_an_older_copy_is_served_once_the_newer_one_is_lost(
        self, torn: Browser, pair: list[MemcachedNode], session_class: Engine
    ) -> None:
        pair[1].kill()
        assert torn.get("/read/").content == b"1"
        assert session_class.stale_loads() == 1


class TestHybrid:
    @pytest.fixture(params=["hybrid"])
    def session_class(
        self, request: pytest.FixtureRequest, settings: Any, distsession: dict[str, Any]
    ) -> type[StoreBackedSession]:
        return engine_class(settings, request.param)

    @pytest.fixture
    def stale(self, browser: Browser, session_class: Engine) -> Browser:
        """
        A session whose copy in the cache is fresh by its date, and older than CouchDB's.
        """
        browser.get("/fill/")
        store: Any = session_class.get_store()
        assert isinstance(store, HybridStore)
        storage_id = session_class.storage_id(browser.cookies[SESSION].value)
        assert storage_id
        found = store._cache.get(storage_id)
        assert found
        browser.get("/write/")
        current = store._cache.get(storage_id)
        assert current
        store._cache.invalidate(storage_id, current.token)
        store._cache.add(storage_id, found.record)
        return browser

    def test_couchdb_is_asked_where_the_cache_is_behind(
        self, stale: Browser, session_class: Engine
    ) -> None:
        stale.get("/write/")
        assert session_class(stale.cookies[SESSION].value)["b"] == 2

    def test_the_cache_is_brought_up_to_date(
        self, stale: Browser, session_class: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stale.get("/read/")
        store: Any = session_class.get_store()
        with monkeypatch.context() as patch:
            patch.setattr(store, "_durable_gens", None)
            assert session_class(stale.cookies[SESSION].value)["b"] == 1

    def test_an_older_copy_is_not_served_while_couchdb_is_away(
        self, stale: Browser, session_class: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django_distsession.exceptions import StoreUnavailable

        def fail(*args: Any) -> Any:
            raise StoreUnavailable("CouchDB is down.")

        store: Any = session_class.get_store()
        monkeypatch.setattr(store._durable_gens, "get_gen", fail)
        assert stale.get("/read/").status_code == 503

    def test_a_cache_that_is_ahead_of_couchdb_is_believed(
        self, stale: Browser, session_class: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store: Any = session_class.get_store()
        storage_id = session_class.storage_id(stale.cookies[SESSION].value)
        assert storage_id
        cached, durable = store._cache.get(storage_id), store._durable.get(storage_id)
        older = Versioned(cached.record, durable.token)
        newer = Versioned(durable.record, cached.token)
        monkeypatch.setattr(store._durable_gens, "get_gen", lambda *args: call(lambda: older))
        monkeypatch.setattr(store._cache, "refresh_gen", lambda *args: call(lambda: newer))
        assert stale.get("/read/").content == b"1"
        assert session_class.stale_loads() == 0
