"""
Converts outages in other middleware into the 503, before Django converts them into server errors.

Django wraps each middleware in `convert_exception_to_response`, so an exception never reaches the
middleware outside of it: it becomes a 500, a log entry with a traceback and a mail to the admins.
Here, the middleware inside each of these wrappers is wrapped once more. Middleware that keeps its
`get_response` in a closure ends the chain; the 500 of what is behind it is replaced later
(`outage.behind_500`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from ..exceptions import StoreUnavailable

Answer = Callable[[HttpRequest, StoreUnavailable], HttpResponseBase]


def _sync_handler(request: HttpRequest) -> HttpResponseBase:
    raise NotImplementedError


async def _async_handler(request: HttpRequest) -> HttpResponseBase:
    raise NotImplementedError


# By their code, which all sync wrappers share, and all async ones.
CONVERTERS = {
    convert_exception_to_response(_sync_handler).__code__,
    convert_exception_to_response(_async_handler).__code__,
}


def shield(handler: Callable[[HttpRequest], Any], answer: Answer) -> Callable[[HttpRequest], Any]:
    """
    Return the handler with `answer` called on an outage inside each of Django's wrappers that can
    be reached from here.
    """
    if getattr(handler, "__code__", None) not in CONVERTERS:
        return handler
    middleware: Any = handler.__wrapped__  # type: ignore[attr-defined]
    inner = getattr(middleware, "get_response", None)
    if inner is not None:
        shielded = shield(inner, answer)
        if shielded is not inner:
            middleware.get_response = shielded
    return convert_exception_to_response(_answering(middleware, answer))


def _answering(middleware: Any, answer: Answer) -> Callable[[HttpRequest], Any]:
    # Without the middleware's attributes: the wrapper must not be taken for the middleware.
    keeping_name = wraps(middleware, updated=())
    if iscoroutinefunction(middleware):

        @keeping_name
        async def answering_async(request: HttpRequest) -> Any:
            try:
                return await middleware(request)
            except StoreUnavailable as error:
                return answer(request, error)

        return answering_async

    @keeping_name
    def answering(request: HttpRequest) -> Any:
        try:
            return middleware(request)
        except StoreUnavailable as error:
            return answer(request, error)

    return answering
