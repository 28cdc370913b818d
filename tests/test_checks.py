from __future__ import annotations

import re
import ssl
import warnings
from typing import Any

import pytest
from django.apps import apps
from django.core import checks
from django.views.debug import SafeExceptionReporterFilter

from django_distsession.backends import hybrid
from django_distsession.middleware import SessionMiddleware

SIGNED = "django_distsession.codecs.SignedCodec"
PLAIN = "django_distsession.codecs.JSONCodec"
HYBRID = "django_distsession.backends.hybrid"


OURS = "django_distsession.middleware.SessionMiddleware"
DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"
OUR_FILTER = "django_distsession.debug.ExceptionReporterFilter"


class OurMiddleware(SessionMiddleware):
    """
    As a site may write it.
    """


class OwnFilter(SafeExceptionReporterFilter):
    """
    Knows better than Django's what a password is.
    """

    def cleanse_setting(self, key: str | int, value: Any) -> Any:
        return re.sub("//.*@", "//", repr(super().cleanse_setting(key, value)))


def messages_of(*prefixes: str, deploy: bool = False) -> list[checks.CheckMessage]:
    messages = checks.run_checks(include_deployment_checks=deploy)
    return [message for message in messages if (message.id or "").startswith(prefixes)]


def run(deploy: bool = False) -> list[str]:
    return [message.id or "" for message in messages_of("distsession.", deploy=deploy)]


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


@pytest.mark.parametrize("ours", [OURS, "tests.test_checks.OurMiddleware"])
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
    assert run() == ["distsession.W004"]
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


@pytest.mark.parametrize(
    ("couchdb", "filter_path", "expected"),
    [
        ({"URL": "http://me:hush@localhost:5984"}, None, True),
        ({"URL": "http://localhost", "ADMIN_URL": "http://me:hush@localhost"}, None, True),
        ({"URL": "http://localhost:5984"}, None, False),
        ({"URL": "http://me:hush@localhost:5984"}, OUR_FILTER, False),
        ({"URL": "http://me:hush@localhost:5984"}, "tests.test_checks.OwnFilter", False),
    ],
)
def test_reports_of_errors_that_show_a_password_are_warned_about(
    settings: Any, couchdb: dict[str, str], filter_path: str | None, expected: bool
) -> None:
    settings.DISTSESSION = {**settings.DISTSESSION, "COUCHDB": couchdb}
    if filter_path:
        settings.DEFAULT_EXCEPTION_REPORTER_FILTER = filter_path
    assert run(deploy=True) == (["distsession.W012"] if expected else [])
    assert run() == []


def test_sessions_in_memory_are_no_deployment(settings: Any) -> None:
    settings.SESSION_ENGINE = "django_distsession.backends.memory"
    assert run() == []
    [message] = messages_of("distsession.", deploy=True)
    assert message.id == "distsession.W013"
    assert settings.SESSION_ENGINE in message.msg
    assert "django_distsession.backends.memcached" in message.msg


def test_an_engine_of_somebody_elses_is_checked_as_far_as_it_goes(settings: Any) -> None:
    settings.SESSION_ENGINE = "tests.third_party.bare_engine"
    del settings.DISTSESSION
    assert run(deploy=True) == []
    settings.DISTSESSION = {"CODEK": SIGNED}
    assert run(deploy=True) == ["distsession.E001"]
