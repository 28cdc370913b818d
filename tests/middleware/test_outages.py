"""
Outages: a 503 that leaves the cookies alone, wherever the session is looked into.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from django_distsession.exceptions import StoreUnavailable

from ..conftest import ENGINES, engine_class
from ..sessions import Engine, contents
from . import views
from .conftest import OURS, Browser, Outage

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
OTHERS = "tests.middleware.others."


@pytest.fixture(params=["hybrid"])
def session_class(request: pytest.FixtureRequest, settings: Any, distsession: Any) -> Engine:
    return engine_class(settings, request.param)


def assert_is_outage(response: Any) -> None:
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert response.headers["Cache-Control"] == "no-store"
    assert b"Back in a moment" in response.content
    assert not response.cookies


def test_the_page_promises_no_more_than_is_known(browser: Browser, outage: Outage) -> None:
    browser.get("/fill/")
    with outage():
        page = browser.get("/read/").content.decode()
    assert "it may not have arrived" in page
    # With memcached alone, that may be.
    assert not any(word in page for word in ("lost", "logged"))


def session_of(response: Any) -> Any:
    request = getattr(response, "wsgi_request", None) or response.asgi_request
    return request.session


def said(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    # On a busy machine, asyncio says in dev mode that a callback was slow.
    return [record for record in caplog.records if record.name != "asyncio"]


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


@pytest.mark.parametrize(
    "middleware",
    [
        (OTHERS + "BeforeView",),
        (OTHERS + "AtView",),
        (OTHERS + "AfterView",),
        (OTHERS + "PassingOn", OTHERS + "BeforeView"),
        (OTHERS + "PassingOn", OTHERS + "AfterView", OTHERS + "PassingOn"),
    ],
)
def test_an_outage_in_another_middleware_is_no_server_error(
    browser: Browser,
    outage: Outage,
    with_middleware: Callable[..., None],
    middleware: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    browser.get("/fill/")
    with_middleware(*middleware)
    with outage():
        assert_is_outage(browser.get("/untouched/"))
    assert [record.name for record in said(caplog)] == ["django_distsession.middleware"]


def test_an_outage_in_djangos_authentication_is_no_server_error(
    browser: Browser, outage: Outage, with_middleware: Callable[..., None], customer: Any
) -> None:
    with_middleware(
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    )
    browser.log_in_as(customer)
    with outage():
        assert_is_outage(browser.get("/untouched/"))
    assert browser.get("/who/").content == b"demo"


def test_an_outage_where_csrf_tokens_live_in_sessions_is_no_server_error(
    browser: Browser, outage: Outage, with_middleware: Callable[..., None], settings: Any
) -> None:
    browser.get("/fill/")
    settings.CSRF_USE_SESSIONS = True
    with_middleware("django.middleware.csrf.CsrfViewMiddleware")
    with outage():
        assert_is_outage(browser.get("/untouched/"))


def test_an_outage_behind_middleware_that_cannot_be_reached_answers_503_too(
    browser: Browser, outage: Outage, with_middleware: Callable[..., None]
) -> None:
    browser.get("/fill/")
    with_middleware(OTHERS + "in_a_closure", OTHERS + "BeforeView")
    browser._client.raise_request_exception = False
    with outage():
        assert_is_outage(browser.get("/untouched/"))


@pytest.mark.parametrize("path", ["/read/", "/aread/", "/read_in_template_response/"])
def test_an_outage_in_a_view_behind_such_middleware_is_no_server_error(
    browser: Browser, outage: Outage, with_middleware: Callable[..., None], path: str
) -> None:
    browser.get("/fill/")
    with_middleware(OTHERS + "in_a_closure")
    with outage():
        assert_is_outage(browser.get(path))


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


def test_a_bug_in_another_middleware_is_not_hidden_by_an_outage(
    browser: Browser, outage: Outage, with_middleware: Callable[..., None]
) -> None:
    browser.get("/fill/")
    with_middleware(OTHERS + "catching_and_failing")
    browser._client.raise_request_exception = False
    with outage():
        assert browser.get("/untouched/").status_code == 500


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


def test_middleware_outside_of_ours_meets_an_empty_session_after_the_503(
    browser: Browser,
    outage: Outage,
    with_middleware: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    browser.get("/fill/")
    with_middleware(OTHERS + "AfterView", OURS)
    with outage():
        assert_is_outage(browser.get("/read/"))
    # The store, which may be slow to fail, is not asked once more.
    assert len(said(caplog)) == 1


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


def test_files_of_a_response_that_is_not_sent_are_closed(browser: Browser, outage: Outage) -> None:
    browser.get("/fill/")
    with outage("replace"):
        assert_is_outage(browser.get("/send_file/"))
    assert views.sent_files.pop().closed


@pytest.mark.parametrize("accept", ["application/json", "application/json, text/html;q=0.5"])
def test_who_asks_for_json_gets_json(browser: Browser, outage: Outage, accept: str) -> None:
    browser.get("/fill/")
    with outage():
        response = browser.get("/read/", accept=accept)
    assert response.status_code == 503
    assert "error" in json.loads(response.content)
    assert "Accept" in response.headers["Vary"]


@pytest.mark.parametrize("accept", ["*/*", "text/html,*/*;q=0.8", "", ";;nonsense"])
def test_who_asks_for_anything_gets_the_page(browser: Browser, outage: Outage, accept: str) -> None:
    browser.get("/fill/")
    with outage():
        assert_is_outage(browser.get("/read/", accept=accept))


def test_the_page_is_a_template_that_sites_override(
    browser: Browser, outage: Outage, settings: Any
) -> None:
    browser.get("/fill/")
    settings.TEMPLATES = [_pages({"distsession/unavailable.html": "Gone fishing."})]
    with outage():
        response = browser.get("/read/")
    assert (response.status_code, response.content) == (503, b"Gone fishing.")


@pytest.mark.parametrize("pages", [{}, {"distsession/unavailable.html": "{% url 'no-such' %}"}])
def test_a_page_that_cannot_be_rendered_has_a_stand_in(
    browser: Browser, outage: Outage, settings: Any, pages: dict[str, str]
) -> None:
    browser.get("/fill/")
    settings.TEMPLATES = [_pages(pages)]
    with outage():
        response = browser.get("/read/")
    assert response.status_code == 503
    assert b"try again" in response.content


def _pages(pages: dict[str, str]) -> dict[str, Any]:
    loaders = [("django.template.loaders.locmem.Loader", pages)]
    return {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {"loaders": loaders},
    }


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
