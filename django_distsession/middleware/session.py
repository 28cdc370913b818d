"""
Django's session middleware, for stores that may be unavailable.

An outage is answered with 503, or with an anonymous request, and leaves the cookies alone, so that
nobody is logged out by it. A session that is not used is neither loaded nor saved.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.http import http_date

from .. import conf, version_cookie
from ..backends.base import StoreBackedSession
from ..backends.expiry import EXPIRY_KEY
from ..checks.installation import warn_unless_installed
from ..exceptions import StoreUnavailable
from . import outage
from .shield import shield


class SessionMiddleware(DjangoSessionMiddleware):
    """
    In place of `django.contrib.sessions.middleware.SessionMiddleware`. Sync and async.

    Works with any engine; outages and the version cookie are handled for this package's engines.
    """

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(shield(get_response, self._answer_outage))
        self._engine_is_ours = issubclass(self.SessionStore, StoreBackedSession)
        if self._engine_is_ours:
            # When a web process starts, not only at its first session.
            warn_unless_installed()

    def process_request(self, request: HttpRequest) -> None:
        """
        Attach the session, which is loaded on first access.
        """
        cookies = request.COOKIES
        session: Any = self.SessionStore(cookies.get(settings.SESSION_COOKIE_NAME))
        request.session = session
        if self._engine_is_ours:
            ours = conf.get()
            session.anonymous_when_unavailable = ours.on_unavailable == "anonymous"
            if ours.version_cookie:
                session.version_cookie = cookies.get(version_cookie.name())

    def process_response(  # type: ignore[override]
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """
        Save the session and set, or delete, its cookie; neither if the store is unavailable.
        """
        session = _session_of(request)
        if not self._is_to_be_saved(session, response):
            return self._without_save(request, session, response)
        try:
            lifetime = _lifetime(session)
            session.save()
        except (StoreUnavailable, UpdateError) as error:
            return self._save_failed(request, response, error)
        return self._saved(request, session, response, lifetime)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        """
        The same under ASGI, without blocking the event loop or Django's one shared thread.
        """
        self.process_request(request)
        response: HttpResponseBase = await self.get_response(request)  # type: ignore[misc]
        session = _session_of(request)
        if not self._is_to_be_saved(session, response):
            return self._without_save(request, session, response)
        try:
            # From here on the session is in memory, and what reads it does not block.
            await session.aget(EXPIRY_KEY)
            lifetime = _lifetime(session)
            await session.asave()
        except (StoreUnavailable, UpdateError) as error:
            return self._save_failed(request, response, error)
        return self._saved(request, session, response, lifetime)

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        """
        Convert an outage in a view into the response to it.
        """
        if isinstance(exception, StoreUnavailable):
            return self._answer_outage(request, exception)
        return None

    @staticmethod
    def _is_to_be_saved(session: Any, response: HttpResponseBase) -> bool:
        if session is None or getattr(session, "unavailable", False):
            return False
        wanted = session.modified or settings.SESSION_SAVE_EVERY_REQUEST
        return wanted and response.status_code < 500 and not session.is_empty()

    def _without_save(
        self, request: HttpRequest, session: Any, response: HttpResponseBase
    ) -> HttpResponseBase:
        if getattr(session, "unavailable", False):
            return self._after_outage(request, session, response)
        if response.status_code == 500 and (error := outage.behind_500(request)):
            return outage.replace(response, self._answer_outage(request, error))
        if session is None:
            return response
        if settings.SESSION_COOKIE_NAME in request.COOKIES and session.is_empty():
            _delete_cookies(request, response)
            patch_vary_headers(response, ("Cookie",))
        elif session.accessed:
            self._set_version_cookie(session, response)
            patch_vary_headers(response, ("Cookie",))
        return response

    def _saved(
        self, request: HttpRequest, session: Any, response: HttpResponseBase, lifetime: int | None
    ) -> HttpResponseBase:
        if getattr(session, "unavailable", False):
            return self._after_outage(request, session, response)
        _set_cookie(response, settings.SESSION_COOKIE_NAME, session.session_key, lifetime)
        self._set_version_cookie(session, response)
        # Also where nobody looked into the session: a shared cache must not hand out the cookie.
        patch_vary_headers(response, ("Cookie",))
        return response

    def _save_failed(
        self, request: HttpRequest, response: HttpResponseBase, error: Exception
    ) -> HttpResponseBase:
        if isinstance(error, StoreUnavailable):
            return outage.replace(response, self._answer_outage(request, error))
        raise SessionInterrupted(
            "The request's session was deleted before the request completed. The user may have "
            "logged out in a concurrent request, for example."
        ) from error

    def _after_outage(
        self, request: HttpRequest, session: Any, response: HttpResponseBase
    ) -> HttpResponseBase:
        """
        Return the response of a request whose session was unavailable, or the 503 in its place.

        With `ON_UNAVAILABLE` "raise", a page that was rendered as for an anonymous visitor must not
        be sent. Templates, for example, swallow errors in `{% if %}`.
        """
        patch_vary_headers(response, ("Cookie",))
        error = outage.behind_500(request) if response.status_code == 500 else None
        if error is None and (session.anonymous_when_unavailable or response.status_code >= 500):
            return response
        return outage.replace(response, self._answer_outage(request, error or session.outage))

    def _answer_outage(self, request: HttpRequest, error: object) -> HttpResponseBase:
        session: Any = getattr(request, "session", None)
        if isinstance(session, StoreBackedSession):
            session.give_up()
        return outage.answer(request, error)

    def _set_version_cookie(self, session: Any, response: HttpResponseBase) -> None:
        written = self._engine_is_ours and session.session_key and session.written
        if written and conf.get().version_cookie:
            value = version_cookie.sign(*written)
            _set_cookie(response, version_cookie.name(), value, _lifetime(session))


def _session_of(request: HttpRequest) -> Any:
    # A view or a test may have put something else there.
    session = getattr(request, "session", None)
    return session if hasattr(session, "accessed") else None


def _lifetime(session: Any) -> int | None:
    """
    Return the cookie's age in seconds, None for one that ends with the browser.
    """
    if session.get_expire_at_browser_close():
        return None
    age: int = session.get_expiry_age()
    return age


# Responses within one second have the same date.
_as_date = lru_cache(maxsize=16)(http_date)


def _set_cookie(response: HttpResponseBase, name: str, value: str, lifetime: int | None) -> None:
    response.set_cookie(
        name,
        value,
        max_age=lifetime,
        expires=None if lifetime is None else _as_date(int(time.time()) + lifetime),
        domain=settings.SESSION_COOKIE_DOMAIN,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE or False,
        httponly=settings.SESSION_COOKIE_HTTPONLY or False,
        samesite=settings.SESSION_COOKIE_SAMESITE,
    )


def _delete_cookies(request: HttpRequest, response: HttpResponseBase) -> None:
    for name in (settings.SESSION_COOKIE_NAME, version_cookie.name()):
        if name in request.COOKIES:
            response.delete_cookie(
                name,
                path=settings.SESSION_COOKIE_PATH,
                domain=settings.SESSION_COOKIE_DOMAIN,
                samesite=settings.SESSION_COOKIE_SAMESITE,
            )
