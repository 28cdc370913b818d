"""
The response to a request whose session is unavailable: 503, as a page or as JSON.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers

from ..exceptions import StoreUnavailable

logger = logging.getLogger("django_distsession.middleware")

TEMPLATE = "distsession/unavailable.html"
FALLBACK = "<!doctype html><title>Service unavailable</title><h1>Please try again shortly.</h1>"
RETRY_AFTER = 5


def answer(request: HttpRequest, error: object) -> HttpResponseBase:
    """
    Log the outage and return the 503, which is not cacheable.
    """
    logger.error("The session store is unavailable: %s", error)
    response: HttpResponse
    if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        response = JsonResponse({"error": "The session store is unavailable."}, status=503)
    else:
        response = HttpResponse(_page(), status=503)
    response.headers["Retry-After"] = str(RETRY_AFTER)
    response.headers["Cache-Control"] = "no-store"
    patch_vary_headers(response, ("Cookie", "Accept"))
    # Django would log each of these responses as an error, which mails the admins.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def replace(old: HttpResponseBase, new: HttpResponseBase) -> HttpResponseBase:
    """
    Return `new`, to be sent in place of `old`. Closing it closes the files of `old`.
    """
    new._resource_closers.extend(old._resource_closers)  # type: ignore[attr-defined]
    return new


def behind_500(request: HttpRequest) -> StoreUnavailable | None:
    """
    Return the outage that Django converted into a 500, if there was one.
    """
    error: StoreUnavailable | None = getattr(request, "_distsession_outage", None)
    return error


def _page() -> str:
    # Without the request, because context processors may read the session.
    try:
        return render_to_string(TEMPLATE)
    except Exception:
        logger.exception("The template %s cannot be rendered.", TEMPLATE)
        return FALLBACK


def _note_outage(*, request: HttpRequest | None = None, **kwargs: Any) -> None:
    error = sys.exc_info()[1]
    if request is not None and isinstance(error, StoreUnavailable):
        request._distsession_outage = error  # type: ignore[attr-defined]


got_request_exception.connect(_note_outage, dispatch_uid="django_distsession.middleware")
