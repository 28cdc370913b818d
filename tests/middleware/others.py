"""
Middleware of other people, which looks into the session.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from django_distsession.exceptions import StoreUnavailable

Handler = Callable[[HttpRequest], HttpResponse]


class BeforeView(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> None:
        request.session.get("a")


class AtView(MiddlewareMixin):
    def process_view(self, request: HttpRequest, *args: Any) -> None:
        request.session.get("a")


class AfterView(MiddlewareMixin):
    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        request.session.get("a")
        return response


class PassingOn(MiddlewareMixin):
    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response.headers["X-Passed-On"] = "yes"
        return response


def in_a_closure(get_response: Handler) -> Handler:
    """
    Sync only, and nobody can reach what it wraps.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    return middleware


def catching_and_failing(get_response: Handler) -> Handler:
    def middleware(request: HttpRequest) -> HttpResponse:
        with suppress(StoreUnavailable):
            request.session.get("a")
        raise ValueError("A bug that has nothing to do with the session.")

    return middleware
