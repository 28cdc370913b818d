"""
The web processes that serve the demo: the one that answers, and its peers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.http.request import split_domain_port
from django.utils.cache import patch_vary_headers

View = Callable[[HttpRequest], HttpResponseBase]


@dataclass(frozen=True)
class WebProcess:
    number: int
    port: int
    origin: str
    pid: int | None = None


def answering(request: HttpRequest) -> WebProcess:
    # The port that was connected to, not the one that a Host header claims.
    port = int(request.META.get("SERVER_PORT") or 0)
    for process in all_processes(request):
        if process.port == port:
            return WebProcess(process.number, port, process.origin, os.getpid())
    return WebProcess(1, port, f"{request.scheme}://{request.get_host()}", os.getpid())


def all_processes(request: HttpRequest) -> list[WebProcess]:
    """
    The demo's web processes under the host name that the browser already uses.

    A cookie for localhost is not sent to 127.0.0.1, though it is sent to every port.
    """
    host, _ = split_domain_port(request.get_host())
    return [
        WebProcess(number, port, f"{request.scheme}://{host}:{port}")
        for number, port in enumerate(settings.DEMO_PORTS, start=1)
    ]


def readable_by_peers(view: View) -> View:
    """
    Let pages of the demo's own origins, and no others, read this view's answers.
    """

    @wraps(view)
    def wrapper(request: HttpRequest) -> HttpResponseBase:
        response = view(request)
        patch_vary_headers(response, ["Origin"])
        origin = request.headers.get("Origin")
        if origin in settings.CSRF_TRUSTED_ORIGINS:
            response["Access-Control-Allow-Origin"] = origin
            response["Access-Control-Allow-Credentials"] = "true"
        return response

    return wrapper
