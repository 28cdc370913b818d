from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from django_distsession.exceptions import StoreUnavailable

from ..sessions import Engine, interposed

OURS = "django_distsession.middleware.SessionMiddleware"
OTHERS = "tests.middleware.others."
STORE_METHODS = ("get", "refresh", "add", "replace", "end")


class Browser:
    """
    A test client that keeps its cookies, over WSGI or over ASGI, and re-raises what Django takes
    for a server error.
    """

    def __init__(self, gateway: str) -> None:
        self.gateway = gateway
        self._client: Any = Client() if gateway == "wsgi" else AsyncClient()

    @property
    def cookies(self) -> Any:
        return self._client.cookies

    def log_in_as(self, user: Any) -> None:
        self._client.force_login(user)

    def get(self, path: str, **headers: str) -> Any:
        return self._call("get", path, headers)

    def post(self, path: str, **headers: str) -> Any:
        return self._call("post", path, headers)

    def _call(self, method: str, path: str, headers: dict[str, str]) -> Any:
        call = getattr(self._client, method)
        if self.gateway == "asgi":
            call = async_to_sync(call)
        return call(path, headers=headers)


class Outage:
    """
    The store fails inside `with outage:`, or from `begin` on.
    """

    def __init__(self, session_class: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self._session_class = session_class
        self._patch = monkeypatch

    def begin(self, *names: str) -> None:
        def fail(*args: Any, **kwargs: Any) -> Any:
            raise StoreUnavailable("The store is down.")

        store = interposed(self._session_class)
        for name in names or STORE_METHODS:
            # Not every store can be asked to refresh.
            if hasattr(store, name):
                self._patch.setattr(store, name, fail)

    @contextmanager
    def __call__(self, *names: str) -> Iterator[None]:
        with self._patch.context() as patch:
            Outage(self._session_class, patch).begin(*names)
            yield


def assert_is_outage(response: Any) -> None:
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert response.headers["Cache-Control"] == "no-store"
    assert b"Back in a moment" in response.content
    assert not response.cookies


def said(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    # On a busy machine, asyncio says in dev mode that a callback was slow.
    return [record for record in caplog.records if record.name != "asyncio"]


@pytest.fixture
def outage(session_class: Engine, monkeypatch: pytest.MonkeyPatch) -> Outage:
    return Outage(session_class, monkeypatch)


@pytest.fixture(params=["wsgi", "asgi"])
def browser(request: pytest.FixtureRequest, settings: Any, session_class: Engine) -> Browser:
    settings.ROOT_URLCONF = "tests.middleware.urls"
    settings.MIDDLEWARE = [OURS]
    settings.DEBUG = False
    return Browser(request.param)


@pytest.fixture
def customer(db: None, settings: Any) -> Any:
    from django.contrib.auth.models import User

    # The usual one is slow by design.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return User.objects.create_user("demo", password="demo")


@pytest.fixture
def with_middleware(settings: Any, browser: Browser) -> Callable[..., None]:
    """
    Return a function that puts middleware behind ours, or all that is named where ours is.
    """

    def put(*paths: str) -> None:
        settings.MIDDLEWARE = paths if OURS in paths else [OURS, *paths]
        browser._client.handler._middleware_chain = None

    return put
