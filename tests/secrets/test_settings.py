from __future__ import annotations

from typing import Any

import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from django_distsession import conf, engine
from django_distsession.secret import Secret

from .conftest import assert_keeps_it, errors_of
from .error_reports import ENCODED, PASSWORD, URL, USER, tells_it


@pytest.mark.parametrize(
    "given",
    [
        URL,
        {"COUCHDB": URL},
        {"COUCHDB": [URL]},
        {"URL": URL},
        {"COUCHDB": {"URL": URL, "URLL": URL}},
        {"COUCHDB": {"URL": URL, "AUTH": URL}},
        {"COUCHDB": {"URL": URL.replace("http", "htp")}},
        {"COUCHDB": {"URL": URL.replace(ENCODED, PASSWORD)}},
        {"COUCHDB": {"URL": URL.replace(ENCODED, f"11/{PASSWORD}")}},
        {"COUCHDB": {"URL": URL + "\ud800"}},
        {"COUCHDB": {"URL": [URL, URL]}},
        {"COUCHDB": {"URL": URL, "ADMIN_URL": [URL, 1]}},
        {"COUCHDB": {"URL": URL, "DATABASE": "_"}},
        {"COUCHDB": {"URL": URL, "CA_FILE": __file__}},
        {"COUCHDB": {"URL": URL, "CLIENT": "no.such.function"}},
        {"COUCHDB": {"URL": URL}, "CODEC": "no.such.codec"},
        {"MEMCACHED": {"SERVERS": [f"{USER}:{PASSWORD}@127.0.0.1:11211"]}},
        {"MEMCACHED": {"SERVERS": [{"PASSWORD": PASSWORD}]}},
        {"MEMCACHED": {"SERVERS": ["a:1"], "PASSWORD": PASSWORD}},
        {"MEMCACHED": {"SERVERS": ["a:1"], "USERNAME": "a", "PASSWORD": PASSWORD + "\ud800"}},
        {"MEMCACHED": {"SERVERS": ["a:1"], "USERNAME": "a", "PASSWORD": [PASSWORD]}},
        {"MEMCACHED": {"SERVERS": ["a:1"], "PASSWRD": PASSWORD}},
    ],
)
def test_settings_that_cannot_be(settings: Any, given: Any) -> None:
    settings.DISTSESSION = given
    settings.SESSION_ENGINE = "django_distsession.backends.couchdb"
    errors = errors_of(conf.get)
    assert isinstance(errors[0], ImproperlyConfigured)
    assert_keeps_it(errors)
    messages = checks.run_checks(include_deployment_checks=True, databases=["default"])
    assert messages
    assert not any(tells_it(str(message)) for message in messages)


def test_settings_that_are_good_are_not_shown(settings: Any) -> None:
    login = {"USERNAME": USER, "PASSWORD": PASSWORD}
    settings.DISTSESSION = {
        "COUCHDB": {"URL": URL, "ADMIN_URL": [URL]},
        "MEMCACHED": {"SERVERS": ["a:1"], **login},
    }
    read = conf.get()
    assert read.couchdb is not None
    assert read.couchdb.urls[0].reveal() == URL
    assert read.memcached is not None
    assert read.memcached.credentials == Secret((USER, PASSWORD))
    assert not tells_it(f"{read!r} {read} {read.memcached.credentials}")


def test_an_engine_that_cannot_be_imported(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError(name)

    settings.DISTSESSION = {"COUCHDB": {"URL": URL}, "MEMCACHED": {}}
    monkeypatch.setattr(engine, "import_module", fail)
    assert_keeps_it(errors_of(conf.get))
