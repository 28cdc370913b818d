"""
Outages that other middleware, or a view behind it, runs into.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import OTHERS, OURS, Browser, Outage, assert_is_outage, said

# Most of this happens above the store, for which one engine is as good as another.
pytestmark = pytest.mark.parametrize("session_class", ["hybrid"], indirect=True)


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


def test_a_bug_in_another_middleware_is_not_hidden_by_an_outage(
    browser: Browser, outage: Outage, with_middleware: Callable[..., None]
) -> None:
    browser.get("/fill/")
    with_middleware(OTHERS + "catching_and_failing")
    browser._client.raise_request_exception = False
    with outage():
        assert browser.get("/untouched/").status_code == 500


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
