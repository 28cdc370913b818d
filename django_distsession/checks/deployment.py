"""
System checks for `check --deploy`: sessions and passwords that are exposed.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.utils.module_loading import import_string

from .. import conf
from ..engine import needed_sections, our_engine

OUR_FILTER = "django_distsession.debug.ExceptionReporterFilter"


@register(Tags.security, deploy=True)
def check_transport(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """
    W010, W011: connections without encryption or authentication to other hosts.
    """
    if not needed_sections() or conf.problems():
        return []
    given, needed = conf.get(), needed_sections()
    found: list[CheckMessage] = []
    if given.couchdb and "COUCHDB" in needed:
        found += _plain_http(given.couchdb)
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


def _plain_http(given: conf.CouchDBSettings) -> Iterator[CheckMessage]:
    # Imports CouchDB's client.
    from ..stores.couchdb.http.address import Address

    for key, urls in (("URL", given.urls), ("ADMIN_URL", given.admin_urls)):
        addresses = [Address(url) for url in urls]
        if any(one.scheme == "http" and not _is_loopback(one.host) for one in addresses):
            yield Warning(
                f"{conf.full_name('COUCHDB', key)} is plain HTTP to another host: password "
                "and sessions can be read on the way. Write https://, or make sure that "
                "nobody else is on that network.",
                id="distsession.W010",
            )


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


@register(Tags.compatibility, deploy=True)
def check_memory(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """
    W013: sessions in the memory of one process.
    """
    engine = our_engine()
    if engine is None:
        return []
    # Imports the engines.
    from ..backends.memory import SessionStore as InMemory

    if not issubclass(engine, InMemory):
        return []
    return [
        Warning(
            f"SESSION_ENGINE is {settings.SESSION_ENGINE}, which keeps sessions in the memory of "
            "one process: other processes do not know them, and a restart ends them. It is for "
            'tests. Write "django_distsession.backends.memcached", for example.',
            id="distsession.W013",
        )
    ]


@register(Tags.security, deploy=True)
def check_error_reports(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """
    W012: Django's reports of errors would show the password in a URL of CouchDB's.
    """
    if "COUCHDB" not in needed_sections() or conf.problems():
        return []
    from ..stores.couchdb.http.address import Address

    given = conf.get().couchdb
    if given is None or not any(
        Address(url).credentials for url in (*given.urls, *given.admin_urls)
    ):
        return []
    # Not a real password.
    sample = {"COUCHDB": {"URL": "http://user:a-password@127.0.0.1:5984"}}
    reports = import_string(settings.DEFAULT_EXCEPTION_REPORTER_FILTER)()
    if "a-password" not in repr(reports.cleanse_setting(conf.NAME, sample)):
        return []
    return [
        Warning(
            "Django's reports of errors, such as mails to ADMINS, show all settings, and with "
            f"{conf.full_name('COUCHDB', 'URL')} its password. Set "
            f'DEFAULT_EXCEPTION_REPORTER_FILTER to "{OUR_FILTER}", or let your own filter hide '
            f"{conf.NAME}.",
            id="distsession.W012",
        )
    ]
