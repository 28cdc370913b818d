"""
Django Channels' session middleware on our engines.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http.cookies import SimpleCookie
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from channels.sessions import SessionMiddlewareStack
from django.core.exceptions import SuspiciousOperation

from django_distsession.exceptions import StoreUnavailable

from ..conftest import stored
from ..sessions import Engine, contents, interposed
from .conftest import Outage

Send = Callable[[dict[str, Any]], Awaitable[None]]


async def count(scope: dict[str, Any], receive: Any, send: Send) -> None:
    """
    An application that counts the visits of a browser.
    """
    visits = await scope["session"].aget("visits", 0) + 1
    await scope["session"].aset("visits", visits)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(visits).encode()})


async def look(scope: dict[str, Any], receive: Any, send: Send) -> None:
    visits = await scope["session"].aget("visits")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(visits).encode()})


def visit(application: Any, key: str | None = None) -> dict[str, Any]:
    headers = [(b"cookie", f"sessionid={key}".encode())] if key else []
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}

    async def scenario() -> dict[str, Any]:
        communicator = ApplicationCommunicator(SessionMiddlewareStack(application), scope)
        await communicator.send_input({"type": "http.request", "body": b""})
        start, body = [await communicator.receive_output() for _ in range(2)]
        await communicator.wait()
        return {**start, **body}

    return async_to_sync(scenario)()


def cookies_of(answer: dict[str, Any]) -> SimpleCookie:
    cookies = SimpleCookie()
    for name, value in answer["headers"]:
        if name.lower() == b"set-cookie":
            cookies.load(value.decode())
    return cookies


def ends_elsewhere(*, changes: bool) -> Any:
    """
    An application whose session another request ends while it runs, as in Channels' own test
    `test_session_save_update_error`.
    """

    async def application(scope: dict[str, Any], receive: Any, send: Send) -> None:
        session = scope["session"]
        await session.asave()
        await type(session._wrapped)(session.session_key).aflush()
        if changes:
            await session.aset("color", "blue")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return application


# Channels makes database connections of its own safe to use.
pytestmark = pytest.mark.django_db


def test_a_session_begun_in_channels_goes_on_there(session_class: Engine) -> None:
    key = cookies_of(visit(count))["sessionid"].value
    assert contents(session_class, key) == {"visits": 1}
    assert visit(count, key)["body"] == b"2"
    assert contents(session_class, key) == {"visits": 2}


def test_a_session_begun_in_django_goes_on_in_channels(session_class: Engine) -> None:
    key = stored(session_class, visits=6, other="kept")
    assert visit(count, key)["body"] == b"7"
    assert contents(session_class, key) == {"visits": 7, "other": "kept"}


def test_looking_into_a_session_writes_nothing(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stored(session_class, visits=6)
    monkeypatch.setattr(interposed(session_class), "replace", None)
    answer = visit(look, key)
    assert answer["body"] == b"6"
    assert "sessionid" not in cookies_of(answer)


def test_an_outage_is_an_error_and_no_new_session(session_class: Engine, outage: Outage) -> None:
    key = stored(session_class, visits=6)
    with outage(), pytest.raises(StoreUnavailable):
        visit(count, key)
    assert contents(session_class, key) == {"visits": 6}


def test_a_change_to_a_session_that_was_ended_meanwhile_is_refused(session_class: Engine) -> None:
    key = stored(session_class, visits=6)
    with pytest.raises(SuspiciousOperation, match="was deleted before the request completed"):
        visit(ends_elsewhere(changes=True), key)
    assert contents(session_class, key) == {}


def test_a_save_without_a_change_does_not_notice_the_end(session_class: Engine) -> None:
    answer = visit(ends_elsewhere(changes=False))
    assert answer["status"] == 200
    key = cookies_of(answer)["sessionid"].value
    assert contents(session_class, key) == {}
