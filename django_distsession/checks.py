"""
System checks: what is wrong in the settings, said before a request meets it.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.utils.module_loading import import_string

from . import conf

OUR_APP = "django_distsession"
DJANGOS_APP = "django.contrib.sessions"
STOCK_MIDDLEWARE = "django.contrib.sessions.middleware.SessionMiddleware"
OUR_MIDDLEWARE = "django_distsession.middleware.SessionMiddleware"


def _uses_our_engine() -> bool:
    return bool(conf.needed_sections())


@register(Tags.security)
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """
    E001 to E006: settings that are unknown, wrong or impossible.
    """
    if not _uses_our_engine() and not hasattr(settings, conf.NAME):
        return []
    return [Error(problem.message, id=f"distsession.{problem.code}") for problem in conf.problems()]


@register(Tags.security)
def check_codec(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """
    E007: an unsigned codec over a serializer that runs what it reads.
    """
    if not _uses_our_engine() or conf.problems():
        return []
    path = conf.get().codec
    pickles = "pickle" in settings.SESSION_SERIALIZER.lower()
    if not pickles or getattr(import_string(path), "authenticated", False):
        return []
    return [
        Error(
            f'DISTSESSION["CODEC"] is {path}, which does not notice altered sessions, and '
            f"SESSION_SERIALIZER is {settings.SESSION_SERIALIZER}: whoever can write to the store "
            "can run code here. Use django_distsession.codecs.SignedCodec, or a JSON serializer.",
            id="distsession.E007",
        )
    ]


@register(Tags.compatibility)
def check_installation(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """
    W001, W002: the app and the middleware are not where they take effect.
    """
    if not _uses_our_engine():
        return []
    found: list[CheckMessage] = []
    apps = [app.partition(".apps.")[0] for app in settings.INSTALLED_APPS]
    ours_and_djangos = [app for app in apps if app in (OUR_APP, DJANGOS_APP)]
    if ours_and_djangos == [DJANGOS_APP, OUR_APP]:
        found.append(
            Warning(
                f'INSTALLED_APPS names "{DJANGOS_APP}" before "{OUR_APP}", so Django\'s '
                f"clearsessions is used. Put {OUR_APP} first.",
                id="distsession.W001",
            )
        )
    if STOCK_MIDDLEWARE in settings.MIDDLEWARE:
        found.append(
            Warning(
                f"MIDDLEWARE holds {STOCK_MIDDLEWARE}, which answers 500 when the store is down. "
                f"Put {OUR_MIDDLEWARE} in its place.",
                id="distsession.W002",
            )
        )
    return found


@register(Tags.security, deploy=True)
def check_transport(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """
    W010, W011: sessions that travel or stand open on a network.
    """
    if not _uses_our_engine() or conf.problems():
        return []
    given, needed = conf.get(), conf.needed_sections()
    found: list[CheckMessage] = []
    if given.couchdb and "COUCHDB" in needed:
        for key, urls in (("URL", given.couchdb.urls), ("ADMIN_URL", given.couchdb.admin_urls)):
            parts = [urlsplit(url) for url in urls]
            if any(part.scheme == "http" and not _is_loopback(part.hostname) for part in parts):
                found.append(
                    Warning(
                        f"{conf.full_name('COUCHDB', key)} is plain HTTP to another host: password "
                        "and sessions can be read on the way. Write https://, or make sure that "
                        "nobody else is on that network.",
                        id="distsession.W010",
                    )
                )
    if given.memcached and "MEMCACHED" in needed and given.memcached.credentials is None:
        exposed = [server for server in given.memcached.servers if not _is_local(server)]
        if exposed and not _may_hold_certificate(settings.DISTSESSION["MEMCACHED"].get("TLS")):
            found.append(
                Warning(
                    f"{conf.full_name('MEMCACHED', 'SERVERS')} names {', '.join(exposed)} without "
                    "authentication: whoever reaches them can end every session. Set USERNAME and "
                    "PASSWORD, or TLS with a client certificate, or make sure that nobody else is "
                    "on that network.",
                    id="distsession.W011",
                )
            )
    return found


def _may_hold_certificate(tls: Any) -> bool:
    return isinstance(tls, ssl.SSLContext) or (isinstance(tls, Mapping) and "CERT_FILE" in tls)


def _is_local(server: str) -> bool:
    if server.startswith(("/", "unix:")):
        return True
    return _is_loopback(server.rpartition(":")[0].strip("[]"))


def _is_loopback(host: str | None) -> bool:
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
