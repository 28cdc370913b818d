"""
A request under ASGI whose view is async needs no thread for its session in memcached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.contrib.auth import alogin, alogout, user_logged_in
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory

from django_distsession.middleware import SessionMiddleware
from tests.conftest import engine_class, stored
from tests.sessions import Engine

View = Callable[[HttpRequest], Awaitable[HttpResponse]]


@pytest.fixture(params=["memcached", "hybrid"])
def session_class(request: pytest.FixtureRequest, settings: Any, distsession: Any) -> Engine:
    return engine_class(settings, request.param)


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Let threads be used no more.
    """

    async def fail(*args: Any) -> None:
        raise AssertionError(f"{args} on a thread")

    monkeypatch.setattr("django_distsession.stores.operations.in_thread", fail)
    monkeypatch.setattr("django_distsession.backends.overriding.in_thread", fail)
    monkeypatch.setattr("asgiref.sync.SyncToAsync.__call__", fail)
    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", fail)


async def respond(view: View, key: str | None = None) -> HttpResponse:
    request = AsyncRequestFactory().get("/")
    if key is not None:
        request.COOKIES["sessionid"] = key
    middleware: Any = SessionMiddleware(view)
    response: HttpResponse = await middleware(request)
    return response


def test_reads(session_class: Engine, no_threads: None) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        session: Any = request.session
        assert await session.aget("a") == 1
        assert await session.ahas_key("a")
        assert list(await session.akeys()) == ["a"]
        assert list(await session.avalues()) == [1]
        assert list(await session.aitems()) == [("a", 1)]
        assert await session.aget_expiry_age() > 0
        assert await session.aget_expiry_date()
        assert not await session.aget_expire_at_browser_close()
        assert await session.aexists(key)
        return HttpResponse("ok")

    key = stored(session_class, a=1)
    assert asyncio.run(respond(view, key)).content == b"ok"


class TestOnMemcached:
    @pytest.fixture
    def session_class(self, settings: Any, distsession: Any) -> Engine:
        return engine_class(settings, "memcached")

    def test_every_change(self, session_class: Engine, no_threads: None) -> None:
        async def view(request: HttpRequest) -> HttpResponse:
            session: Any = request.session
            await session.aset("b", 2)
            await session.aupdate({"c": 3, "d": 4})
            assert await session.asetdefault("e", 5) == 5
            assert await session.apop("d") == 4
            await session.aset_expiry(500)
            assert await session.aget_expiry_age() == 500
            await session.aset_test_cookie()
            assert await session.atest_cookie_worked()
            await session.adelete_test_cookie()
            await session.asave()
            await session.acycle_key()
            return HttpResponse(session.session_key)

        key = stored(session_class, a=1)
        new = asyncio.run(respond(view, key)).content.decode()
        assert new != key
        assert not asyncio.run(session_class().aexists(key))
        seen = asyncio.run(respond(read_all, new)).content
        assert seen == b"a b c e"

    def test_login_and_logout(
        self, session_class: Engine, no_threads: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Django's own receiver, which writes to the database.
        monkeypatch.setattr(user_logged_in, "asend", silence)

        async def log_in(request: HttpRequest) -> HttpResponse:
            user = User(pk=1, username="u", password="x")
            user.backend = "django.contrib.auth.backends.ModelBackend"
            await alogin(request, user)
            return HttpResponse("in")

        async def log_out(request: HttpRequest) -> HttpResponse:
            async def nobody() -> None:
                return None

            request.auser = nobody  # type: ignore[assignment]
            await alogout(request)
            return HttpResponse("out")

        key = stored(session_class, a=1)
        response = asyncio.run(respond(log_in, key))
        new = response.cookies["sessionid"].value
        assert new != key
        response = asyncio.run(respond(log_out, new))
        assert response.cookies["sessionid"].value == ""
        assert not asyncio.run(session_class().aexists(new))

    def test_flush_and_an_empty_session(self, session_class: Engine, no_threads: None) -> None:
        async def flush(request: HttpRequest) -> HttpResponse:
            await request.session.aflush()
            return HttpResponse("")

        key = stored(session_class, a=1)
        assert asyncio.run(respond(flush, key)).cookies["sessionid"].value == ""
        assert not asyncio.run(session_class().aexists(key))


async def silence(*args: Any, **kwargs: Any) -> None:
    pass


async def read_all(request: HttpRequest) -> HttpResponse:
    keys = [key for key in await request.session.akeys() if not key.startswith("_")]
    return HttpResponse(" ".join(sorted(keys)))
