from __future__ import annotations

import ssl
from typing import Any

import pytest
from django.core import checks

SIGNED = "django_distsession.codecs.SignedCodec"
PLAIN = "django_distsession.codecs.JSONCodec"
HYBRID = "django_distsession.backends.hybrid"


def run(deploy: bool = False) -> list[str]:
    messages = checks.run_checks(include_deployment_checks=deploy)
    return [m.id for m in messages if m.id and m.id.startswith("distsession.")]


@pytest.fixture(autouse=True)
def _good_settings(settings: Any) -> None:
    settings.SESSION_ENGINE = HYBRID
    settings.DISTSESSION = {
        "MEMCACHED": {"SERVERS": ["127.0.0.1:11211", "[::1]:11211", "/run/m.sock", "localhost:1"]},
        "COUCHDB": {"URL": "http://localhost:5984"},
    }


def test_good_settings_pass() -> None:
    assert run(deploy=True) == []


def test_problems_in_the_settings_are_errors(settings: Any) -> None:
    settings.DISTSESSION = {"NAMESPCE": "x", "MEMCACHED": {"SERVERS": ["a:1"], "QUORUM": 2}}
    assert sorted(run()) == ["distsession.E001", "distsession.E003", "distsession.E004"]


def test_other_engines_are_left_alone(settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    settings.MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
    del settings.DISTSESSION
    assert run(deploy=True) == []


@pytest.mark.parametrize(("codec", "expected"), [(SIGNED, []), (PLAIN, ["distsession.E007"])])
def test_an_unsigned_codec_must_not_unpickle(
    settings: Any, codec: str, expected: list[str]
) -> None:
    settings.DISTSESSION = {**settings.DISTSESSION, "CODEC": codec}
    settings.SESSION_SERIALIZER = "tests.test_codecs.PickleSerializer"
    assert run() == expected


def test_the_app_comes_before_djangos(settings: Any) -> None:
    settings.INSTALLED_APPS = [*reversed(settings.INSTALLED_APPS)]
    assert run() == ["distsession.W001"]


def test_the_middleware_takes_the_place_of_djangos(settings: Any) -> None:
    settings.MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
    assert run() == ["distsession.W002"]


@pytest.mark.parametrize("key", ["URL", "ADMIN_URL"])
def test_plain_http_to_another_host_is_warned_about(settings: Any, key: str) -> None:
    couchdb = {"URL": "http://127.0.0.1:5984", key: "http://10.0.0.3:5984"}
    settings.DISTSESSION = {**settings.DISTSESSION, "COUCHDB": couchdb}
    assert run(deploy=True) == ["distsession.W010"]
    assert run() == []


@pytest.mark.parametrize("more", [{"USERNAME": "a", "PASSWORD": "b"}, {}])
def test_open_memcached_on_another_host_is_warned_about(
    settings: Any, more: dict[str, str]
) -> None:
    memcached = {"SERVERS": ["127.0.0.1:1", "cache.example:11211"], **more}
    settings.DISTSESSION = {**settings.DISTSESSION, "MEMCACHED": memcached}
    assert run(deploy=True) == ([] if more else ["distsession.W011"])
    assert run() == []


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
    assert run(deploy=True) == expected


def test_an_engine_of_ones_own_is_checked_too(settings: Any) -> None:
    settings.SESSION_ENGINE = "tests.custom_engine"
    settings.DISTSESSION = {}
    assert run() == ["distsession.E004"]
