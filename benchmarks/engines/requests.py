"""
Whole requests, as a WSGI server makes them: with the signals on which Django closes its
connections to caches.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any
from wsgiref.util import setup_testing_defaults

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings

from benchmarks.engines.sessions import new_sessions
from benchmarks.operations import Operation, Operations

PAGES = {
    Operation.UNTOUCHED: "/untouched",
    Operation.READ: "/read",
    Operation.WRITE: "/write",
}


def request_operations(engine: str, middleware: str, store: type[SessionBase]) -> Operations:
    """
    engine: as SESSION_ENGINE names it. middleware: the session middleware's dotted path.
    """
    # Handler and middleware read these settings once, so each contender can have its own.
    with override_settings(SESSION_ENGINE=engine, MIDDLEWARE=[middleware]):
        handler = WSGIHandler()
    return {
        operation: _request(handler, path, new_sessions(store)) for operation, path in PAGES.items()
    }


def _request(handler: WSGIHandler, path: str, session_keys: list[str]) -> Callable[[], None]:
    environs = cycle([_environ(path, session_key) for session_key in session_keys])

    def request() -> None:
        response = handler(dict(next(environs)), _start_response)
        for _ in response:
            pass
        # Sends request_finished.
        response.close()

    return request


def _environ(path: str, session_key: str) -> dict[str, Any]:
    environ: dict[str, Any] = {
        "PATH_INFO": path,
        "HTTP_COOKIE": f"{settings.SESSION_COOKIE_NAME}={session_key}",
    }
    setup_testing_defaults(environ)
    return environ


def _start_response(
    status: str, headers: list[tuple[str, str]], exc_info: object = None, /
) -> Callable[[bytes], object]:
    if status != "200 OK":
        raise RuntimeError(f"A request was answered with {status}.")
    return lambda body: None
