"""
Outages that other middleware runs into, answered before Django makes server errors of them.

Django wraps each middleware in `convert_exception_to_response`, so that what one raises never
reaches another: it becomes a 500, a log entry with a traceback, a mail to the admins. Here every
wrapper further in than our middleware gets a layer of ours inside. What cannot be reached, such as
middleware that keeps its `get_response` in a closure, stays as it is; then the 500 is replaced
later on (`outage.behind_500`).
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


# All wrappers of a kind share their code.
CONVERTERS = {
    convert_exception_to_response(_sync_handler).__code__,
    convert_exception_to_response(_async_handler).__code__,
}


def shield(handler: Callable[[HttpRequest], Any], answer: Answer) -> Callable[[HttpRequest], Any]:
    """
    Return the handler with our layer inside each of Django's wrappers that can be reached.
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
    # Without its attributes: a wrapper is no middleware, and not to be taken for one.
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
