"""
No work for nothing: the calls that reach the store for each kind of request.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from ..conftest import close_connections
from ..sessions import Calls, Engine, interposed, set_clock
from .conftest import Browser

READ, CHANGE, NEW, END = ["get"], ["get", "replace"], ["add"], ["end"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/untouched/", []),
        ("/read/", READ),
        ("/aread/", READ),
        ("/read_in_template/", READ),
        ("/same/", READ),
        ("/write/", CHANGE),
        ("/awrite/", CHANGE),
        ("/stream/", CHANGE),
        ("/write_and_fail/", READ),
        ("/expire_with_browser/", CHANGE),
        ("/save/", CHANGE),
        # The session's expiry, which its tombstone has to outlive, takes a read.
        ("/flush/", [*READ, *END]),
        ("/flush_and_write/", [*READ, *END, *NEW]),
    ],
)
def test_a_request_does_no_more_io_than_it_needs(
    browser: Browser, calls: Calls, path: str, expected: list[str]
) -> None:
    browser.get("/fill/")
    assert calls == NEW
    browser.get(path)
    assert calls == expected


@pytest.mark.parametrize("path", ["/untouched/", "/read/", "/who/", "/flush/"])
def test_a_visitor_without_a_session_causes_no_io(
    browser: Browser, calls: Calls, path: str, with_middleware: Callable[..., None]
) -> None:
    with_middleware("django.contrib.auth.middleware.AuthenticationMiddleware")
    browser.get(path)
    assert calls == []


@pytest.mark.parametrize("save_every_request", [False, True])
@pytest.mark.parametrize("with_cookie", [False, True])
def test_a_request_that_does_not_touch_its_session_opens_no_connection(
    browser: Browser,
    session_class: Engine,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    save_every_request: bool,
    with_cookie: bool,
) -> None:
    if with_cookie:
        browser.get("/fill/")
    close_connections(session_class)
    # Without a cookie there is nothing to be kept alive either.
    settings.SESSION_SAVE_EVERY_REQUEST = save_every_request and not with_cookie

    def refuse(*args: Any) -> None:
        raise AssertionError("a connection was opened")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        assert browser.get("/untouched/").status_code == 200


def test_logging_in_and_out_takes_a_call_for_each_session(
    browser: Browser, calls: Calls, customer: Any, with_middleware: Callable[..., None]
) -> None:
    with_middleware("django.contrib.auth.middleware.AuthenticationMiddleware")
    browser.get("/fill/")
    assert calls == NEW
    browser.get("/log_in/")
    # The cart moves to a new key, the old session ends, and who is logged in is written.
    assert calls == ["get", "add", "end", "replace"]
    browser.get("/who/")
    assert calls == READ
    browser.get("/log_out/")
    assert calls == [*READ, *END]
    browser.get("/who/")
    assert calls == []


def test_logging_in_without_a_session_takes_two_writes(
    browser: Browser, calls: Calls, customer: Any
) -> None:
    browser.get("/log_in/")
    # Django cycles the key before it says who is logged in.
    assert calls == ["add", "replace"]


@pytest.mark.parametrize("path", ["/untouched/", "/read/", "/same/", "/aread/"])
def test_saving_on_every_request_extends_the_session_once_per_interval(
    browser: Browser,
    session_class: Engine,
    calls: Calls,
    settings: Any,
    configure: Any,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    configure(TOUCH_INTERVAL=60)
    settings.SESSION_SAVE_EVERY_REQUEST = True
    calls = Calls(interposed(session_class), monkeypatch)
    browser.get("/fill/")
    assert calls == NEW
    now = time.time()
    for later, expected in [(30, READ), (55, READ), (61, CHANGE), (91, READ), (125, CHANGE)]:
        set_clock(session_class, now + later)
        response = browser.get(path)
        assert (later, calls.names) == (later, expected)
        calls.names.clear()
        # The cookie is renewed every time, and no shared cache may hand it out.
        assert response.cookies["sessionid"]["max-age"] == settings.SESSION_COOKIE_AGE
        assert "Cookie" in response.headers["Vary"]


@pytest.mark.parametrize(
    ("path", "varies"), [("/untouched/", False), ("/read/", True), ("/write/", True)]
)
def test_responses_vary_by_cookie_where_the_session_was_used(
    browser: Browser, path: str, varies: bool
) -> None:
    browser.get("/fill/")
    assert ("Cookie" in browser.get(path).headers.get("Vary", "")) is varies
