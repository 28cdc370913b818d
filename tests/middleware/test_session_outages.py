"""
Outages: a 503 that leaves the cookies alone, wherever the session is looked into.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from django_distsession.exceptions import StoreUnavailable

from ..conftest import ENGINES, engine_class
from ..sessions import Engine, contents
from .conftest import Browser, Outage, assert_is_outage, said

# Most of this happens above the store, for which one engine is as good as another.
every_engine = pytest.mark.parametrize("session_class", ENGINES, indirect=True)

READING = [
    "/read/",
    "/aread/",
    "/write/",
    "/awrite/",
    "/read_in_template/",
    "/read_in_if/",
    "/read_in_context_processor/",
    "/read_in_template_response/",
]


@pytest.fixture(params=["hybrid"])
def session_class(request: pytest.FixtureRequest, settings: Any, distsession: Any) -> Engine:
    return engine_class(settings, request.param)


def session_of(response: Any) -> Any:
    request = getattr(response, "wsgi_request", None) or response.asgi_request
    return request.session


@every_engine
@pytest.mark.parametrize("path", READING)
def test_an_outage_at_load_answers_503_and_leaves_the_cookie_alone(
    browser: Browser, outage: Outage, path: str
) -> None:
    browser.get("/fill/")
    with outage():
        assert_is_outage(browser.get(path))
    assert browser.get("/read/").content == b"1"


@every_engine
@pytest.mark.parametrize("path", ["/write/", "/awrite/", "/stream/", "/save/"])
def test_an_outage_at_save_answers_503_and_leaves_the_cookie_alone(
    browser: Browser, outage: Outage, path: str, session_class: Engine
) -> None:
    browser.get("/fill/")
    key = browser.cookies["sessionid"].value
    with outage("replace"):
        assert_is_outage(browser.get(path))
    assert contents(session_class, key) == {"a": 1}


@pytest.mark.parametrize("path", ["/fill/", "/log_in/"])
def test_an_outage_at_the_first_save_sets_no_cookie(
    browser: Browser, outage: Outage, path: str, customer: Any
) -> None:
    with outage():
        assert_is_outage(browser.get(path))
    assert "sessionid" not in browser.cookies


def test_nobody_is_told_to_be_logged_out_who_is_not(
    browser: Browser, outage: Outage, customer: Any, with_middleware: Callable[..., None]
) -> None:
    with_middleware("django.contrib.auth.middleware.AuthenticationMiddleware")
    browser.log_in_as(customer)
    with outage("end"):
        assert_is_outage(browser.get("/log_out/"))
    assert browser.get("/who/").content == b"demo"


@pytest.mark.parametrize("mode", ["raise", "anonymous"])
def test_a_bug_in_the_view_is_not_hidden_by_an_outage(
    browser: Browser, outage: Outage, configure: Any, mode: str
) -> None:
    browser.get("/fill/")
    configure(ON_UNAVAILABLE=mode)
    with outage():
        with pytest.raises(ValueError, match="A bug"):
            browser.get("/catch_and_fail/")
        browser._client.raise_request_exception = False
        response = browser.get("/catch_and_fail/")
    assert response.status_code == 500
    assert not response.cookies


def test_a_bug_without_an_outage_stays_a_server_error(browser: Browser) -> None:
    with pytest.raises(ValueError, match="A bug"):
        browser.get("/fail/")


def test_who_catches_the_error_does_not_pass_for_a_visitor_without_session(
    browser: Browser, outage: Outage
) -> None:
    browser.get("/fill/")
    with outage():
        assert_is_outage(browser.get("/catch/"))


def test_a_view_may_go_on_without_its_session(browser: Browser, outage: Outage) -> None:
    browser.get("/fill/")
    with outage():
        response = browser.get("/catch_and_say_so/")
    assert response.status_code == 200
    assert not response.cookies
    assert browser.get("/read/").content == b"1"


def test_a_stream_that_reads_late_breaks_off_and_leaves_the_cookie_alone(
    browser: Browser, outage: Outage
) -> None:
    if browser.gateway == "asgi":
        # Django collects a sync iterator before it sends anything.
        return
    browser.get("/fill/")
    with outage():
        response = browser.get("/stream_what_is_read_late/")
        assert not response.cookies
        with pytest.raises(StoreUnavailable):
            list(response)


@every_engine
@pytest.mark.parametrize("path", ["/read/", "/write/", "/aread/", "/awrite/", "/read_in_if/"])
def test_requests_go_on_anonymously_where_a_site_wants_it(
    browser: Browser,
    outage: Outage,
    configure: Any,
    session_class: Engine,
    path: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    configure(ON_UNAVAILABLE="anonymous")
    browser.get("/fill/")
    key = browser.cookies["sessionid"].value
    with outage():
        response = browser.get(path)
    assert response.status_code == 200
    assert not response.cookies
    assert "Cookie" in response.headers["Vary"]
    assert session_of(response).unavailable
    assert [record.levelno for record in said(caplog)] == [logging.WARNING]
    assert contents(session_class, key) == {"a": 1}
    assert browser.get("/read/").content == b"1"


@pytest.mark.parametrize("path", ["/write/", "/awrite/", "/save/", "/stream/", "/log_in/"])
def test_changes_are_dropped_with_one_log_line_where_only_writes_fail(
    browser: Browser,
    outage: Outage,
    configure: Any,
    session_class: Engine,
    path: str,
    customer: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    configure(ON_UNAVAILABLE="anonymous")
    browser.get("/fill/")
    key = browser.cookies["sessionid"].value
    with outage("add", "replace"):
        response = browser.get(path)
    assert response.status_code == 200
    assert not response.cookies
    assert session_of(response).session_key == key
    assert len(said(caplog)) == 1
    assert contents(session_class, key) == {"a": 1}


@pytest.mark.parametrize("path", ["/fill/", "/log_in/"])
def test_a_first_session_is_dropped_where_a_site_wants_it(
    browser: Browser, outage: Outage, configure: Any, path: str, customer: Any
) -> None:
    configure(ON_UNAVAILABLE="anonymous")
    with outage():
        response = browser.get(path)
    assert response.status_code == 200
    assert not response.cookies
    assert session_of(response).session_key is None


def test_a_logout_that_cannot_be_kept_is_refused_even_where_requests_go_on_anonymously(
    browser: Browser,
    outage: Outage,
    configure: Any,
    customer: Any,
    with_middleware: Callable[..., None],
) -> None:
    with_middleware("django.contrib.auth.middleware.AuthenticationMiddleware")
    configure(ON_UNAVAILABLE="anonymous")
    browser.log_in_as(customer)
    with outage():
        assert browser.get("/who/").content == b"nobody"
        assert_is_outage(browser.get("/log_out/"))
    assert browser.get("/who/").content == b"demo"


def test_an_absent_session_is_no_outage(browser: Browser) -> None:
    browser.cookies["sessionid"] = "x" * 32
    response = browser.get("/read/")
    assert response.status_code == 200
    assert response.cookies["sessionid"]["max-age"] == 0
