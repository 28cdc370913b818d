from __future__ import annotations

import sys
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_distsession import conf
from django_distsession.conf import rules
from django_distsession.secret import Secret

GOOD: dict[str, Any] = {
    "MEMCACHED": {"SERVERS": ["127.0.0.1:11211", "[::1]:11211", "/run/memcached.sock"]},
    "COUCHDB": {"URL": "https://user:p%40ss@[::1]:6984/prefix"},
}


def with_setting(section: str, key: str, value: Any) -> dict[str, Any]:
    if not section:
        return {**GOOD, key: value}
    return {**GOOD, section: {**GOOD.get(section, {}), key: value}}


def test_good_settings_have_no_problems(settings: Any) -> None:
    settings.DISTSESSION = GOOD
    assert conf.problems() == []
    read = conf.get()
    assert read.memcached is not None
    assert (read.memcached.replicas, read.memcached.quorum) == (2, 1)
    assert read.namespace == "sessionid"
    assert read.couchdb is not None
    assert read.couchdb.database == "sessionid"


def test_one_server_means_one_replica(settings: Any) -> None:
    settings.DISTSESSION = {**GOOD, "MEMCACHED": {"SERVERS": ["localhost:11211"]}}
    read = conf.get().memcached
    assert read is not None
    assert read.replicas == 1


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("", "NAMESPACE", ""),
        ("", "NAMESPACE", "with space"),
        ("", "NAMESPACE", "x" * 101),
        ("", "HASH_KEYS", "yes"),
        ("", "CODEC", None),
        ("", "TOUCH_INTERVAL", -1),
        ("", "TOUCH_INTERVAL", True),
        ("", "ON_UNAVAILABLE", "ignore"),
        ("MEMCACHED", "SERVERS", []),
        ("MEMCACHED", "SERVERS", "127.0.0.1:11211"),
        ("MEMCACHED", "SERVERS", ["127.0.0.1"]),
        ("MEMCACHED", "SERVERS", ["127.0.0.1:0"]),
        ("MEMCACHED", "SERVERS", ["127.0.0.1:99999"]),
        ("MEMCACHED", "SERVERS", ["a b:11211"]),
        ("MEMCACHED", "SERVERS", ["a:1", "a:1"]),
        ("MEMCACHED", "SERVERS", [None]),
        ("MEMCACHED", "REPLICAS", 0),
        ("MEMCACHED", "QUORUM", 0),
        ("MEMCACHED", "QUORUM", 1.0),
        ("MEMCACHED", "TIMEOUT", 0),
        ("MEMCACHED", "TIMEOUT", "1"),
        ("MEMCACHED", "CONNECT_TIMEOUT", -1),
        ("MEMCACHED", "POOL_SIZE", 0),
        ("MEMCACHED", "RETRY_AFTER", 0),
        ("MEMCACHED", "USERNAME", 5),
        ("MEMCACHED", "PASSWORD", ""),
        ("MEMCACHED", "TLS", "yes"),
        ("MEMCACHED", "TLS", {"CA_FILE": "/does/not/exist"}),
        ("MEMCACHED", "TLS", {"CA": "x"}),
        ("COUCHDB", "URL", "127.0.0.1:5984"),
        ("COUCHDB", "URL", "ftp://127.0.0.1"),
        ("COUCHDB", "URL", "http://"),
        ("COUCHDB", "URL", "http://host:port"),
        ("COUCHDB", "URL", "http://host/?x=1"),
        ("COUCHDB", "URL", 5),
        ("COUCHDB", "ADMIN_URL", "localhost"),
        ("COUCHDB", "DATABASE", 5),
        ("COUCHDB", "CREATE", 1),
        ("COUCHDB", "CLIENT", "nodots"),
        ("COUCHDB", "TIMEOUT", None),
        ("COUCHDB", "POOL_SIZE", "8"),
        ("HYBRID", "REVALIDATE_AFTER", -1),
    ],
)
def test_a_wrong_value_is_named(settings: Any, section: str, key: str, value: Any) -> None:
    settings.DISTSESSION = with_setting(section, key, value)
    (problem,) = conf.problems()
    assert problem.code == conf.BAD_VALUE
    assert problem.setting == conf.full_name(section, key)
    assert problem.message.startswith(f"{problem.setting} must be ")


@pytest.mark.parametrize("section", ["", "MEMCACHED", "COUCHDB", "HYBRID"])
def test_an_unknown_setting_is_named(settings: Any, section: str) -> None:
    settings.DISTSESSION = with_setting(section, "SERVRES", 1)
    (problem,) = conf.problems()
    assert problem.code == conf.UNKNOWN
    assert '["SERVRES"]' in problem.message


@pytest.mark.parametrize("value", [None, [], "x"])
@pytest.mark.parametrize("section", ["MEMCACHED", "COUCHDB", "HYBRID"])
def test_a_section_that_is_no_dict_is_named(settings: Any, section: str, value: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    settings.DISTSESSION = {**GOOD, section: value}
    (problem,) = conf.problems()
    assert problem.message == f'DISTSESSION["{section}"] must be a dict.'


def test_settings_that_are_no_dict_are_named(settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    settings.DISTSESSION = ["MEMCACHED"]
    (problem,) = conf.problems()
    assert problem.message == "DISTSESSION must be a dict."


@pytest.mark.parametrize(
    ("memcached", "setting"),
    [
        ({"REPLICAS": 4}, "REPLICAS"),
        ({"REPLICAS": 2, "QUORUM": 3}, "QUORUM"),
        ({"USERNAME": "me"}, "PASSWORD"),
        ({"PASSWORD": "secret"}, "USERNAME"),
        ({"TLS": {"CA_FILE": __file__}}, "TLS"),
    ],
)
def test_an_impossible_combination_is_named(
    settings: Any, memcached: dict[str, Any], setting: str
) -> None:
    settings.DISTSESSION = {**GOOD, "MEMCACHED": {**GOOD["MEMCACHED"], **memcached}}
    (problem,) = conf.problems()
    assert problem.code == conf.IMPOSSIBLE
    assert problem.setting == conf.full_name("MEMCACHED", setting)
    assert "secret" not in problem.message


@pytest.mark.parametrize(
    ("engine", "missing"),
    [
        ("memcached", ["SERVERS"]),
        ("couchdb", ["URL"]),
        ("hybrid", ["SERVERS", "URL"]),
    ],
)
def test_what_an_engine_needs_must_be_set(settings: Any, engine: str, missing: list[str]) -> None:
    settings.SESSION_ENGINE = f"django_distsession.backends.{engine}"
    settings.DISTSESSION = {}
    assert [p.code for p in conf.problems()] == [conf.MISSING] * len(missing)
    for problem, key in zip(conf.problems(), missing, strict=True):
        assert key in problem.setting
    with pytest.raises(ImproperlyConfigured, match=missing[0]):
        conf.get()


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("1session", "session"),
        ("__Secure-sessionid", "secure-sessionid"),
        ("_users", "users"),
        ("Mein Laden", "mein-laden"),
        ("Ü", "sessions"),
        ("x" * 300, "x" * 238),
    ],
)
def test_a_database_name_that_couchdb_refuses(settings: Any, name: str, suggestion: str) -> None:
    settings.DISTSESSION = with_setting("COUCHDB", "DATABASE", name)
    (problem,) = conf.problems()
    assert problem.code == conf.BAD_DATABASE
    assert problem.message.endswith(f'Write "{suggestion}", for example.')
    assert rules.is_database_name(suggestion)


def test_the_cookie_names_the_database(settings: Any) -> None:
    settings.DISTSESSION = GOOD
    settings.SESSION_COOKIE_NAME = "ShopId"
    read = conf.get()
    assert read.couchdb is not None
    assert (read.couchdb.database, read.namespace) == ("shopid", "shopid")
    settings.SESSION_COOKIE_NAME = "__Host-Shop"
    (problem,) = conf.problems()
    assert 'Write "host-shop"' in problem.message


def test_a_codec_that_is_none_is_named(settings: Any) -> None:
    settings.DISTSESSION = {**GOOD, "CODEC": "os.path.join"}
    (problem,) = conf.problems()
    assert problem.code == conf.BAD_PATH
    assert "no codec" in problem.message


@pytest.mark.parametrize("path", ["no.such.module", "django_distsession.conf.NAME"])
def test_a_path_that_leads_nowhere_is_named(settings: Any, path: str) -> None:
    settings.DISTSESSION = {**with_setting("COUCHDB", "CLIENT", path), "CODEC": path}
    assert [problem.code for problem in conf.problems()] == [conf.BAD_PATH] * 2


def test_a_client_makes_the_url_unnecessary(settings: Any) -> None:
    settings.SESSION_ENGINE = "django_distsession.backends.couchdb"
    settings.DISTSESSION = {"COUCHDB": {"CLIENT": "django_distsession.conf.get"}}
    assert conf.problems() == []


def test_passwords_are_not_shown(settings: Any) -> None:
    settings.DISTSESSION = with_setting("COUCHDB", "URL", "htp://me:hunter2@host")
    (problem,) = conf.problems()
    assert "hunter2" not in problem.message


def test_encryption_without_its_library_is_named(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DISTSESSION = {**GOOD, "CODEC": "django_distsession.codecs.EncryptedCodec"}
    assert conf.problems() == []
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    (problem,) = conf.problems()
    assert problem.code == conf.BAD_PATH
    assert "django-distsession[encryption]" in problem.message


def couchdb_settings(settings: Any, **values: Any) -> Any:
    settings.SESSION_ENGINE = "django_distsession.backends.couchdb"
    settings.DISTSESSION = {"COUCHDB": {"URL": "http://127.0.0.1:5984", **values}}
    return conf.get().couchdb


def test_couchdb_takes_one_url_or_several(settings: Any) -> None:
    one, two = "http://127.0.0.1:5984", "https://a:b@db.example:6984/path"
    assert couchdb_settings(settings).urls == (Secret(one),)
    read = couchdb_settings(settings, URL=[one, two], ADMIN_URL=two)
    assert (read.urls, read.admin_urls) == ((Secret(one), Secret(two)), (Secret(two),))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("URL", [], "a list of such URLs"),
        ("URL", ["http://a:5984", "http://a:5984"], "each once"),
        ("URL", ["http://a:5984", "b:5984"], "beginning with http:// or https://"),
        ("ADMIN_URL", [1], "or None"),
        ("AUTH", "digest", '"basic" or "cookie"'),
        ("CA_FILE", "/no/such/file", "the path of an existing file"),
        ("CA_FILE", __file__, "PEM"),
        ("CONDITIONAL_READS", 1, "True or False"),
        ("CACHE_ENTRIES", 0, "a whole number"),
        ("CACHE_BYTES", "1M", "a whole number"),
        ("EXPIRY_GRACE", -1, "0 or more"),
        ("RETRY_AFTER", 0, "greater than 0"),
    ],
)
def test_a_couchdb_setting_that_cannot_be(settings: Any, key: str, value: Any, told: str) -> None:
    settings.SESSION_ENGINE = "django_distsession.backends.couchdb"
    settings.DISTSESSION = {"COUCHDB": {"URL": "http://127.0.0.1:5984", key: value}}
    [problem] = conf.problems()
    assert problem.setting == f'DISTSESSION["COUCHDB"]["{key}"]'
    assert told in problem.message


@pytest.mark.parametrize("value", [-1, True, "300"])
def test_a_time_that_may_be_nothing_is_told_so(settings: Any, value: Any) -> None:
    settings.DISTSESSION = with_setting("HYBRID", "REVALIDATE_AFTER", value)
    (problem,) = conf.problems()
    assert problem.message.endswith("must be a number of seconds, 0 or more.")


@pytest.mark.parametrize("path", ["no.such.serializer", "nodots", "os.sep", 5])
def test_a_serializer_that_is_none_is_named(settings: Any, path: Any) -> None:
    settings.DISTSESSION = GOOD
    assert conf.get().codec
    settings.SESSION_SERIALIZER = path
    (problem,) = conf.problems()
    assert problem.code == conf.BAD_PATH
    assert problem.message.startswith("SESSION_SERIALIZER ")
    assert "CODEC" not in problem.message
    with pytest.raises(ImproperlyConfigured, match=r"^SESSION_SERIALIZER "):
        conf.get()


@pytest.mark.parametrize(
    ("servers", "told"),
    [
        (["10.0.0.1:11211", "10.0.0.2"], 'but holds "10.0.0.2".'),
        (["10.0.0.1:11211", "me:hush@10.0.0.2:11211"], 'but holds "********@10.0.0.2:11211".'),
        ([("10.0.0.1", 11211)], "but holds a value of type tuple."),
        (["a:1", "b:1", "a:1"], 'but holds "a:1" more than once.'),
    ],
)
def test_the_bad_one_of_several_servers_is_quoted(
    settings: Any, servers: list[Any], told: str
) -> None:
    settings.DISTSESSION = with_setting("MEMCACHED", "SERVERS", servers)
    (problem,) = conf.problems()
    assert problem.message.endswith(told)


@pytest.mark.parametrize("password", ["a/b", "a#b", "a?b", "12/b", "a/@b"])
def test_a_password_that_is_not_encoded_is_told_how(settings: Any, password: str) -> None:
    settings.DISTSESSION = with_setting("COUCHDB", "URL", f"http://me:{password}@10.0.0.3:5984")
    (problem,) = conf.problems()
    assert "percent-encoded (@ as %40, / as %2F, # as %23)" in problem.message
    assert password not in problem.message


def test_a_path_that_is_too_long_is_no_path(settings: Any) -> None:
    settings.DISTSESSION = with_setting("COUCHDB", "CA_FILE", "x" * 5000)
    (problem,) = conf.problems()
    assert problem.message.endswith("must be the path of an existing file, or None.")
