"""
Django's session middleware, for stores that can be away for a while.

An outage is answered with 503, or with an anonymous request, and leaves the cookie alone, so that
nobody is logged out by it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any, cast

from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.template import TemplateDoesNotExist
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers

from . import conf
from .backends.base import StoreBackedSession
from .backends.threads import in_thread
from .exceptions import StoreUnavailable

logger = logging.getLogger("django_distsession.middleware")

TEMPLATE = "distsession/unavailable.html"
FALLBACK = "<!doctype html><title>Service unavailable</title><h1>Please try again shortly.</h1>"
RETRY_AFTER = 5


class SessionMiddleware(DjangoSessionMiddleware):
    """
    In place of `django.contrib.sessions.middleware.SessionMiddleware`. Sync and async.
    """

    def process_request(self, request: HttpRequest) -> None:
        """
        Attach the session. Nothing is read before somebody looks into it.
        """
        super().process_request(request)
        if isinstance(request.session, StoreBackedSession):
            request.session.anonymous_when_unavailable = conf.get().on_unavailable == "anonymous"

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        """
        The same under ASGI. Saving takes a thread of our own, and only if there is something to
        save.
        """
        self.process_request(request)
        response = await cast(Awaitable[HttpResponseBase], self.get_response(request))
        if request.session.modified or settings.SESSION_SAVE_EVERY_REQUEST:
            return await in_thread(self.process_response, request, response)
        return self.process_response(request, response)

    def process_response(  # type: ignore[override]
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """
        Save the session and set, or delete, its cookie; neither if the store is unavailable.
        """
        session = cast(Any, getattr(request, "session", None))
        if getattr(session, "unavailable", False):
            return self._without_session(request, response)
        try:
            # Streaming responses pass through here too, which Django's stubs leave out.
            return super().process_response(request, cast(HttpResponse, response))
        except StoreUnavailable as error:
            session.unavailable = True
            if conf.get().on_unavailable == "anonymous":
                logger.warning("The store is unavailable; changes to a session are lost: %s", error)
                return self._without_session(request, response)
            return self._unavailable(request, error)

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        """
        Answer an outage that a view ran into.
        """
        if isinstance(exception, StoreUnavailable):
            return self._unavailable(request, exception)
        return None

    def _without_session(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if response.status_code == 500:
            # Another middleware ran into the outage, and Django made a server error of it.
            return self._unavailable(request, None)
        patch_vary_headers(response, ("Cookie",))
        return response

    def _unavailable(
        self, request: HttpRequest, error: StoreUnavailable | None
    ) -> HttpResponseBase:
        if error is not None:
            logger.error("The session store is unavailable: %s", error)
        response: HttpResponse
        if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
            response = JsonResponse({"error": "The session store is unavailable."}, status=503)
        else:
            response = HttpResponse(_page(), status=503)
        response.headers["Retry-After"] = str(RETRY_AFTER)
        response.headers["Cache-Control"] = "no-store"
        patch_vary_headers(response, ("Cookie", "Accept"))
        return response


def _page() -> str:
    # Without the request: context processors are free to look into the session.
    try:
        return render_to_string(TEMPLATE)
    except TemplateDoesNotExist:
        return FALLBACK
