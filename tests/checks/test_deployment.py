from __future__ import annotations

import re
import ssl
from typing import Any

import pytest
from django.views.debug import SafeExceptionReporterFilter

from .conftest import messages_of, reported_ids

pytestmark = pytest.mark.usefixtures("_good_settings")

OUR_FILTER = "django_distsession.debug.ExceptionReporterFilter"


class OwnFilter(SafeExceptionReporterFilter):
    """
    Knows better than Django's what a password is.
    """

    def cleanse_setting(self, key: str | int, value: Any) -> Any:
        return re.sub("//.*@", "//", repr(super().cleanse_setting(key, value)))


@pytest.mark.parametrize("key", ["URL", "ADMIN_URL"])
def test_plain_http_to_another_host_is_warned_about(settings: Any, key: str) -> None:
    couchdb = {"URL": "http://127.0.0.1:5984", key: "http://10.0.0.3:5984"}
    settings.DISTSESSION = {**settings.DISTSESSION, "COUCHDB": couchdb}
    assert reported_ids(deploy=True) == ["distsession.W010"]
    assert reported_ids() == []


@pytest.mark.parametrize("more", [{"USERNAME": "a", "PASSWORD": "b"}, {}])
def test_open_memcached_on_another_host_is_warned_about(
    settings: Any, more: dict[str, str]
) -> None:
    memcached = {"SERVERS": ["127.0.0.1:1", "cache.example:11211"], **more}
    settings.DISTSESSION = {**settings.DISTSESSION, "MEMCACHED": memcached}
    assert reported_ids(deploy=True) == ([] if more else ["distsession.W011"])
    assert reported_ids() == []


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        (ssl.create_default_context(), []),
        (True, ["distsession.W011"]),
    ],
)
def test_tls_without_a_client_certificate_keeps_nobody_out(
    settings: Any, tls: Any, expected: list[str]
) -> None:
    memcached = {"SERVERS": ["cache.example:11211"], "TLS": tls}
    settings.DISTSESSION = {**settings.DISTSESSION, "MEMCACHED": memcached}
    assert reported_ids(deploy=True) == expected


@pytest.mark.parametrize(
    ("couchdb", "filter_path", "expected"),
    [
        ({"URL": "http://me:hush@localhost:5984"}, None, True),
        ({"URL": "http://localhost", "ADMIN_URL": "http://me:hush@localhost"}, None, True),
        ({"URL": "http://localhost:5984"}, None, False),
        ({"URL": "http://me:hush@localhost:5984"}, OUR_FILTER, False),
        ({"URL": "http://me:hush@localhost:5984"}, "tests.checks.test_deployment.OwnFilter", False),
    ],
)
def test_reports_of_errors_that_show_a_password_are_warned_about(
    settings: Any, couchdb: dict[str, str], filter_path: str | None, expected: bool
) -> None:
    settings.DISTSESSION = {**settings.DISTSESSION, "COUCHDB": couchdb}
    if filter_path:
        settings.DEFAULT_EXCEPTION_REPORTER_FILTER = filter_path
    assert reported_ids(deploy=True) == (["distsession.W012"] if expected else [])
    assert reported_ids() == []


def test_sessions_in_memory_are_no_deployment(settings: Any) -> None:
    settings.SESSION_ENGINE = "django_distsession.backends.memory"
    assert reported_ids() == []
    [message] = messages_of("distsession.", deploy=True)
    assert message.id == "distsession.W013"
    assert settings.SESSION_ENGINE in message.msg
    assert "django_distsession.backends.memcached" in message.msg
