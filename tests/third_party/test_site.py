"""
The store serves the test project: `SESSION_ENGINE = "tests.third_party.engine"`.
"""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core import checks
from django.core.management import call_command
from django.test import AsyncClient, Client

from django_distsession.backends.base import StoreBackedSession

Engine = type[StoreBackedSession]


@pytest.fixture(autouse=True)
def _site(session_class: Engine, settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.mark.django_db
def test_a_visitor_shops_logs_in_and_out(session_class: Engine) -> None:
    user = User.objects.create_user("demo", password="demo")
    client = Client()
    assert client.get("/").status_code == 200
    client.force_login(user)
    key = client.cookies["sessionid"].value
    [session] = session_class.for_user(user.pk)
    assert session.storage_id == session_class.storage_id(key)
    client.logout()
    assert session_class.for_user(user.pk) == []
    assert session_class(key).load() == {}


@pytest.mark.django_db
def test_the_same_under_asgi(session_class: Engine) -> None:
    client: Any = AsyncClient()
    assert async_to_sync(client.get)("/").status_code == 200


@pytest.mark.django_db
def test_other_devices_are_logged_out(session_class: Engine) -> None:
    user = User.objects.create_user("demo", password="demo")
    here, there = Client(), Client()
    here.force_login(user)
    there.force_login(user)
    assert session_class.end_for_user(user.pk, keep=here.cookies["sessionid"].value) == 1
    assert session_class(there.cookies["sessionid"].value).load() == {}
    assert session_class(here.cookies["sessionid"].value).load()["_auth_user_id"] == str(user.pk)


def test_expired_sessions_are_cleared(session_class: Engine) -> None:
    call_command("clearsessions", verbosity=0)
    session = session_class()
    session.set_expiry(-1000)
    session.save()
    out = StringIO()
    call_command("clearsessions", dry_run=True, stdout=out)
    assert out.getvalue() == "1 expired sessions would be removed.\n"
    out = StringIO()
    call_command("clearsessions", stdout=out)
    assert out.getvalue().startswith("1 expired sessions seen: 1 purged, 0 deleted, 0 skipped.\n")


def test_the_system_checks_take_it_for_an_engine_of_ours() -> None:
    assert checks.run_checks() == []
