"""
A site's own tests without servers: another engine under our middleware, as the docs recommend.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core import checks
from django.test import AsyncClient, Client

from .conftest import OURS

MEMORY = "django_distsession.backends.memory"
CACHE = "django.contrib.sessions.backends.cache"
COOKIES = "django.contrib.sessions.backends.signed_cookies"


@pytest.fixture(params=[MEMORY, CACHE, COOKIES])
def _without_servers(
    request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        pytest.fail("A server was asked.")

    settings.SESSION_ENGINE = request.param
    if request.param != MEMORY:
        settings.SILENCED_SYSTEM_CHECKS = ["distsession.W003"]
    settings.ROOT_URLCONF = "tests.middleware.urls"
    settings.MIDDLEWARE = [OURS, "django.contrib.auth.middleware.AuthenticationMiddleware"]
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.django_db
@pytest.mark.usefixtures("_without_servers")
def test_a_visitor_logs_in_and_out() -> None:
    user = User.objects.create_user("demo", password="demo")
    client = Client()
    client.get("/fill/")
    assert client.get("/read/").content == b"1"
    client.force_login(user)
    assert client.get("/who/").content == b"demo"
    client.get("/log_out/")
    assert client.get("/who/").content != b"demo"
    assert [message for message in checks.run_checks() if not message.is_silenced()] == []


@pytest.mark.usefixtures("_without_servers")
def test_the_same_under_asgi() -> None:
    client: Any = AsyncClient()
    async_to_sync(client.get)("/fill/")
    assert async_to_sync(client.get)("/read/").content == b"1"


def test_an_outage_needs_no_server_either(settings: Any) -> None:
    settings.SESSION_ENGINE = "django_distsession.backends.memcached"
    settings.DISTSESSION = {"MEMCACHED": {"SERVERS": ["127.0.0.1:1"]}}
    settings.ROOT_URLCONF = "tests.middleware.urls"
    settings.MIDDLEWARE = [OURS]
    client = Client()
    client.cookies["sessionid"] = "a" * 32
    assert client.get("/read/").status_code == 503
