"""
What is as in Django: interrupted sessions, server errors, streams, cookies, the test client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from django_distsession.middleware import SessionMiddleware

from ..sessions import Calls, Engine, contents
from .conftest import Browser


def test_a_session_that_ended_meanwhile_interrupts_the_request(
    browser: Browser, session_class: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.get("/fill/")
    key = browser.cookies["sessionid"].value
    load = session_class.load

    def load_and_log_out(self: Any) -> Any:
        loaded = load(self)
        session_class(key).delete()
        return loaded

    monkeypatch.setattr(session_class, "load", load_and_log_out)
    response = browser.get("/write/")
    assert response.status_code == 400
    assert "sessionid" not in response.cookies


def test_a_server_error_saves_nothing(browser: Browser, session_class: Engine) -> None:
    browser.get("/fill/")
    response = browser.get("/write_and_fail/")
    assert response.status_code == 502
    assert not response.cookies
    assert contents(session_class, browser.cookies["sessionid"].value) == {"a": 1}


def test_a_stream_is_saved_before_it_begins(browser: Browser, session_class: Engine) -> None:
    response = browser.get("/stream/")
    key = response.cookies["sessionid"].value
    assert contents(session_class, key) == {"b": 1}


def test_an_emptied_session_takes_its_cookie_along(browser: Browser, settings: Any) -> None:
    settings.SESSION_COOKIE_DOMAIN = ".example.com"
    settings.SESSION_COOKIE_PATH = "/shop/"
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    browser.get("/fill/")
    response = browser.get("/flush/")
    cookie = response.cookies["sessionid"]
    assert (cookie.value, cookie["max-age"]) == ("", 0)
    assert (cookie["domain"], cookie["path"], cookie["samesite"]) == (
        ".example.com",
        "/shop/",
        "Strict",
    )
    assert "Cookie" in response.headers["Vary"]


def test_what_is_written_after_a_flush_has_a_session_of_its_own(
    browser: Browser, session_class: Engine
) -> None:
    browser.get("/fill/")
    old = browser.cookies["sessionid"].value
    browser.get("/flush_and_write/")
    new = browser.cookies["sessionid"].value
    assert contents(session_class, old) == {}
    assert contents(session_class, new) == {"fresh": 1}


def test_a_session_that_ends_with_the_browser_has_a_cookie_that_does(browser: Browser) -> None:
    cookie = browser.get("/expire_with_browser/").cookies["sessionid"]
    assert (cookie["max-age"], cookie["expires"]) == ("", "")


def test_logging_in_keeps_the_cart_under_a_new_key_and_logging_out_ends_it(
    browser: Browser,
    session_class: Engine,
    customer: Any,
    with_middleware: Callable[..., None],
) -> None:
    with_middleware("django.contrib.auth.middleware.AuthenticationMiddleware")
    browser.get("/fill/")
    visitor = browser.cookies["sessionid"].value
    browser.get("/log_in/")
    customers = browser.cookies["sessionid"].value
    assert browser.get("/who/").content == b"demo"
    assert contents(session_class, visitor) == {}
    assert contents(session_class, customers)["a"] == 1
    assert browser.get("/log_out/").cookies["sessionid"].value == ""
    assert contents(session_class, customers) == {}


def test_the_test_clients_session_can_be_written_to(settings: Any, session_class: Engine) -> None:
    settings.ROOT_URLCONF = "tests.middleware.urls"
    client = Client()
    session = client.session
    session["a"] = "from the test"
    session.save()
    assert client.get("/read/").content == b"from the test"
    client.logout()
    assert client.get("/read/").content == b"None"


def test_changed_settings_take_effect_at_once(
    browser: Browser, settings: Any, session_class: Engine, configure: Any
) -> None:
    settings.SESSION_COOKIE_NAME = "other"
    assert list(browser.get("/fill/").cookies) == ["other"]
    configure(NAMESPACE="another", COUCHDB={"DATABASE": "another"})
    assert browser.get("/read/").content == b"None"


@pytest.mark.parametrize("session", [None, {}])
def test_who_takes_the_session_away_gets_no_error(session_class: Engine, session: Any) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        if session is None:
            del request.session
        else:
            request.session = session
        return HttpResponse("ok")

    response: Any = SessionMiddleware(view)(RequestFactory().get("/"))
    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/read/", "/write/", "/awrite/", "/flush/", "/log_in/"])
def test_stock_middleware_works_with_our_engines(
    browser: Browser, settings: Any, path: str, customer: Any, session_class: Engine
) -> None:
    settings.MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
    browser.get("/fill/")
    assert browser.get(path).status_code == 200


@pytest.mark.parametrize("engine", ["signed_cookies", "db", "cached_db"])
@pytest.mark.parametrize("path", ["/read/", "/write/", "/awrite/", "/flush/"])
def test_our_middleware_works_with_stock_engines(
    browser: Browser, settings: Any, path: str, engine: str, db: None, configure: Any
) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    configure(VERSION_COOKIE=True)
    assert list(browser.get("/fill/").cookies) == ["sessionid"]
    assert browser.get(path).status_code == 200
    if path == "/read/":
        assert browser.get(path).content == b"1"


def test_saving_on_every_request_varies_by_cookie_with_stock_engines_too(
    browser: Browser, settings: Any, session_class: Engine, calls: Calls
) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.SESSION_SAVE_EVERY_REQUEST = True
    browser.get("/fill/")
    response = browser.get("/untouched/")
    assert "sessionid" in response.cookies
    assert "Cookie" in response.headers["Vary"]
