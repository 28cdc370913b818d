from __future__ import annotations

import warnings
from typing import Any

import pytest
from django.apps import apps

from django_distsession.backends import hybrid
from django_distsession.middleware import SessionMiddleware

from .conftest import messages_of, reported_ids

pytestmark = pytest.mark.usefixtures("_good_settings")

OURS = "django_distsession.middleware.SessionMiddleware"
DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"


class OurMiddleware(SessionMiddleware):
    """
    As a site may write it.
    """


def test_the_app_comes_before_djangos(settings: Any) -> None:
    settings.INSTALLED_APPS = [*reversed(settings.INSTALLED_APPS)]
    assert reported_ids() == ["distsession.W001"]


def test_the_middleware_takes_the_place_of_djangos(settings: Any) -> None:
    settings.MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
    assert reported_ids() == ["distsession.W002"]


@pytest.mark.parametrize("ours", [OURS, "tests.checks.test_installation.OurMiddleware"])
def test_two_session_middlewares_are_one_too_many(settings: Any, ours: str) -> None:
    settings.MIDDLEWARE = [DJANGOS, ours, "no.such.middleware"]
    (message,) = messages_of("distsession.")
    assert message.id == "distsession.W005"
    assert message.msg.endswith(f"Remove {DJANGOS}.")


@pytest.mark.parametrize(
    ("middleware", "is_set", "told"),
    [
        ([OURS], False, f"{OURS} (in MIDDLEWARE) changes nothing"),
        ([DJANGOS], True, "so DISTSESSION changes nothing"),
        ([OURS], True, f"DISTSESSION and {OURS} (in MIDDLEWARE) changes nothing"),
    ],
)
def test_without_our_engine_the_rest_has_no_effect(
    settings: Any, middleware: list[str], is_set: bool, told: str
) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    settings.MIDDLEWARE = middleware
    if not is_set:
        del settings.DISTSESSION
    (message,) = messages_of("distsession.")
    assert message.id == "distsession.W003"
    assert told in message.msg
    assert "django.contrib.sessions.backends.cache" in message.msg


def test_a_missing_app_is_noticed_without_its_checks(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if "distsession" not in app]
    # They are registered as the engine is imported.
    assert reported_ids() == ["distsession.W004"]
    for use in (SessionMiddleware, OurMiddleware):
        with pytest.warns(RuntimeWarning, match="INSTALLED_APPS does not name"):
            use(lambda request: None)
    with pytest.warns(RuntimeWarning, match="INSTALLED_APPS does not name"):
        hybrid.SessionStore.get_store()


def test_a_script_without_apps_is_left_in_peace(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.INSTALLED_APPS = []
    monkeypatch.setattr(apps, "ready", False)
    with warnings.catch_warnings(record=True) as caught:
        hybrid.SessionStore.get_store()
    assert caught == []


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        # Django's own, which goes by the app.
        (["django.contrib.sessions"], ["security.W010", "security.W013"]),
        # Ours, where Django's finds nothing that it knows.
        (["django.contrib.sessions.apps.SessionsConfig"], ["security.W011", "security.W014"]),
        ([], ["security.W011", "security.W014"]),
    ],
)
def test_cookies_that_others_can_read_are_warned_about(
    settings: Any, app: list[str], expected: list[str]
) -> None:
    ids = tuple(f"security.W0{number}" for number in range(10, 16))
    others = [one for one in settings.INSTALLED_APPS if one != "django.contrib.sessions"]
    settings.INSTALLED_APPS = [*others, *app]
    settings.SESSION_COOKIE_HTTPONLY = False
    messages = messages_of(*ids, deploy=True)
    assert sorted(message.id or "" for message in messages) == expected
    if "security.W011" in expected:
        assert all(f"You have '{OURS}' in your MIDDLEWARE" in message.msg for message in messages)
    assert messages_of(*ids) == []
    settings.SESSION_COOKIE_HTTPONLY = settings.SESSION_COOKIE_SECURE = True
    assert messages_of(*ids, deploy=True) == []
