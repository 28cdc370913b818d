"""
What our middleware adds to Django's, whose own tests it passes too (tests/upstream).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from django_distsession.backends.base import StoreBackedSession
from django_distsession.exceptions import StoreUnavailable
from django_distsession.middleware import SessionMiddleware

from .test_sessions import Calls, Engine, contents, stored

View = Callable[[HttpRequest], HttpResponse]


def ok(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


def read(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.session.get("a")))


def write(request: HttpRequest) -> HttpResponse:
    request.session["b"] = 1
    return HttpResponse("ok")


def request_with(key: str | None, **headers: str) -> HttpRequest:
    request = RequestFactory().get("/", headers=headers)
    if key:
        request.COOKIES["sessionid"] = key
    return request


def handle(view: View, request: HttpRequest) -> Any:
    """
    Do what Django's handler does: middleware, view, and the middleware's word on an exception.
    """

    def get_response(request: HttpRequest) -> HttpResponse:
        try:
            return view(request)
        except Exception as error:
            response = middleware.process_exception(request, error)
            if response is None:
                raise
            return response  # type: ignore[return-value]

    middleware = SessionMiddleware(get_response)
    return middleware(request)


@pytest.fixture
def outage(session_class: Engine, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def begin() -> None:
        def fail(*args: Any, **kwargs: Any) -> Any:
            raise StoreUnavailable("The store is down.")

        for name in ("get", "add", "replace", "end"):
            monkeypatch.setattr(session_class.get_store(), name, fail)

    return begin


@pytest.mark.parametrize(
    ("view", "expected"), [(ok, []), (read, ["get"]), (write, ["get", "replace"])]
)
def test_a_request_does_no_more_io_than_it_needs(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch, view: View, expected: list[str]
) -> None:
    key = stored(session_class, a=1)
    calls = Calls(session_class.get_store(), monkeypatch)
    response = handle(view, request_with(key))
    assert response.status_code == 200
    assert calls == expected


@pytest.mark.parametrize("view", [read, write])
def test_an_outage_answers_503_and_leaves_the_cookie_alone(
    session_class: Engine, outage: Callable[[], None], view: View
) -> None:
    key = stored(session_class, a=1)
    outage()
    response = handle(view, request_with(key))
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert b"Back in a moment" in response.content
    assert not response.cookies


def test_an_outage_at_save_answers_503_and_leaves_the_cookie_alone(
    session_class: Engine, outage: Callable[[], None]
) -> None:
    key = stored(session_class, a=1)

    def view(request: HttpRequest) -> HttpResponse:
        request.session["b"] = 1
        outage()
        return HttpResponse("ok")

    response = handle(view, request_with(key))
    assert response.status_code == 503
    assert not response.cookies


def test_an_outage_in_another_middleware_answers_503(
    session_class: Engine, outage: Callable[[], None]
) -> None:
    key = stored(session_class, a=1)
    outage()

    def other_middleware(request: HttpRequest) -> HttpResponse:
        with pytest.raises(StoreUnavailable):
            request.session.get("a")
        return HttpResponse("as Django's handler turns exceptions into", status=500)

    response = handle(other_middleware, request_with(key))
    assert response.status_code == 503
    assert not response.cookies


def test_who_asks_for_json_gets_json(session_class: Engine, outage: Callable[[], None]) -> None:
    outage()
    response = handle(read, request_with("x" * 32, accept="application/json"))
    assert response.status_code == 503
    assert "error" in json.loads(response.content)


@pytest.mark.parametrize("view", [read, write])
def test_requests_go_on_anonymously_where_a_site_wants_it(
    session_class: Engine,
    configure: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    view: View,
) -> None:
    configure(ON_UNAVAILABLE="anonymous")
    key = stored(session_class, a=1)
    store = session_class.get_store()

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise StoreUnavailable("The store is down.")

    with monkeypatch.context() as patch:
        patch.setattr(store, "get", fail)
        request = request_with(key)
        response = handle(view, request)
    assert response.status_code == 200
    assert request.session.unavailable  # type: ignore[attr-defined]
    assert not response.cookies
    assert len(caplog.records) == 1
    assert contents(session_class, key) == {"a": 1}


def test_changes_are_dropped_where_only_the_save_fails(
    session_class: Engine, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(ON_UNAVAILABLE="anonymous")
    key = stored(session_class, a=1)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise StoreUnavailable("The store is down.")

    monkeypatch.setattr(session_class.get_store(), "replace", fail)
    response = handle(write, request_with(key))
    assert response.status_code == 200
    assert not response.cookies


def test_an_absent_session_is_no_outage(session_class: Engine) -> None:
    response = handle(read, request_with("x" * 32))
    assert response.status_code == 200
    assert response.cookies["sessionid"]["max-age"] == 0


def test_under_asgi_sessions_are_saved_on_threads_of_their_own(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stored(session_class, a=1)
    names: list[str] = []
    save = StoreBackedSession.save

    def watched(self: StoreBackedSession, must_create: bool = False) -> None:
        names.append(threading.current_thread().name)
        save(self, must_create)

    monkeypatch.setattr(StoreBackedSession, "save", watched)

    async def view(request: HttpRequest) -> HttpResponse:
        assert await request.session.aget("a") == 1
        await request.session.aset("b", 1)
        return HttpResponse("ok")

    async def scenario() -> Any:
        middleware = SessionMiddleware(view)
        request = AsyncRequestFactory().get("/")
        request.COOKIES["sessionid"] = key
        return await middleware(request)  # type: ignore[misc]

    response = async_to_sync(scenario)()
    assert response.cookies["sessionid"].value == key
    assert contents(session_class, key) == {"a": 1, "b": 1}
    assert len(names) == 1
    assert names[0].startswith("distsession")
