"""
System checks of INSTALLED_APPS and MIDDLEWARE, and a warning for sites where the app is missing
and its checks do not run.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware as DjangosMiddleware
from django.core.checks import CheckMessage, Tags, Warning, register
from django.core.checks.security import sessions as djangos
from django.utils.module_loading import import_string

from .. import conf
from ..engine import our_engine

OUR_APP = "django_distsession"
DJANGOS_APP = "django.contrib.sessions"
OUR_MIDDLEWARE = "django_distsession.middleware.SessionMiddleware"
DJANGOS_MIDDLEWARE = "django.contrib.sessions.middleware.SessionMiddleware"

NOT_INSTALLED = (
    f'INSTALLED_APPS does not name "{OUR_APP}", though SESSION_ENGINE is one of its engines. '
    "So its system checks and its commands (clearsessions, repairsessions, migratedesigndocs) are "
    f'missing, and the page that is shown in an outage. Put it before "{DJANGOS_APP}".'
)


def warn_unless_installed() -> None:
    """
    Warn if the app is not installed, since its checks do not run then. Not before `django.setup()`,
    nor in a script that only configures settings.
    """
    if apps.ready and not apps.is_installed(OUR_APP):
        warnings.warn(NOT_INSTALLED, RuntimeWarning, stacklevel=2)


@register(Tags.compatibility)
def check_installation(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """
    W001 to W005: engine, app and middleware without each other, in the wrong order, or twice.
    """
    ours, djangos = session_middleware()
    if our_engine() is None:
        return [*_unused(ours)]
    found: list[CheckMessage] = []
    installed = [app.partition(".apps.")[0] for app in settings.INSTALLED_APPS]
    if [app for app in installed if app in (OUR_APP, DJANGOS_APP)] == [DJANGOS_APP, OUR_APP]:
        found.append(
            Warning(
                f'INSTALLED_APPS names "{DJANGOS_APP}" before "{OUR_APP}", so Django\'s '
                f"clearsessions is used. Put {OUR_APP} first.",
                id="distsession.W001",
            )
        )
    if not apps.is_installed(OUR_APP):
        found.append(Warning(NOT_INSTALLED, id="distsession.W004"))
    if ours and djangos:
        found.append(
            Warning(
                f"MIDDLEWARE holds both {ours[0]} and {djangos[0]}: each request has two sessions, "
                f"and saves both. Remove {djangos[0]}.",
                id="distsession.W005",
            )
        )
    elif djangos:
        found.append(
            Warning(
                f"MIDDLEWARE holds {djangos[0]}, which answers 500 when the store is down. Put "
                f"{OUR_MIDDLEWARE} in its place.",
                id="distsession.W002",
            )
        )
    return found


def _unused(our_middleware: Sequence[str]) -> list[CheckMessage]:
    parts = [conf.NAME] if hasattr(settings, conf.NAME) else []
    parts += [f"{path} (in MIDDLEWARE)" for path in our_middleware]
    if not parts:
        return []
    return [
        Warning(
            f"SESSION_ENGINE is {settings.SESSION_ENGINE}, which is no engine of this package, so "
            f"{' and '.join(parts)} changes nothing about where sessions are kept. Set "
            'SESSION_ENGINE to "django_distsession.backends.hybrid", for example; or, where this '
            "is on purpose, as in tests, silence this check.",
            id="distsession.W003",
        )
    ]


@register(Tags.security, deploy=True)
def check_cookies(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """
    security.W011, security.W014: Django's checks of the session cookie, which do not recognise our
    middleware.
    """
    ours, _ = session_middleware()
    if not ours:
        return []
    found: list[CheckMessage] = []
    for setting, check, message in (
        ("SESSION_COOKIE_SECURE", djangos.check_session_cookie_secure, djangos.W011),
        ("SESSION_COOKIE_HTTPONLY", djangos.check_session_cookie_httponly, djangos.W014),
    ):
        if getattr(settings, setting) is not True and not check(None):
            text = message.msg.replace(DJANGOS_MIDDLEWARE, ours[0])
            found.append(Warning(text, id=message.id))
    return found


def session_middleware() -> tuple[list[str], list[str]]:
    """
    Return the paths in MIDDLEWARE that are our session middleware, and those that are Django's.
    Subclasses count.
    """
    # Imports the engines.
    from ..middleware import SessionMiddleware as OurMiddleware

    ours, djangos = [], []
    for path in settings.MIDDLEWARE:
        try:
            middleware = import_string(path)
        except ImportError:
            # Django reports it when it loads the middleware.
            continue
        if not isinstance(middleware, type):
            continue
        if issubclass(middleware, OurMiddleware):
            ours.append(path)
        elif issubclass(middleware, DjangosMiddleware):
            djangos.append(path)
    return ours, djangos
