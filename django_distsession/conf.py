"""
The settings: read, completed with defaults and validated in this one place.

`problems()` serves the system checks; `get()` everybody else. Nothing that a check lets pass fails
later.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from . import rules
from .codecs import Codec

NAME = "DISTSESSION"


@dataclass(frozen=True, slots=True)
class Problem:
    """
    Something wrong in the settings.

    code: such as "E003". setting: its full name. message: what is wrong and what to write.
    """

    code: str
    setting: str
    message: str


UNKNOWN, BAD_VALUE, IMPOSSIBLE, MISSING = "E001", "E002", "E003", "E004"
BAD_DATABASE, BAD_PATH = "E005", "E006"


@dataclass(frozen=True, slots=True)
class MemcachedSettings:
    """
    `DISTSESSION["MEMCACHED"]`. Times in seconds.
    """

    servers: tuple[str, ...]
    replicas: int
    quorum: int
    timeout: float
    connect_timeout: float
    pool_size: int
    retry_after: float
    credentials: tuple[str, str] | None
    tls_context: ssl.SSLContext | None


@dataclass(frozen=True, slots=True)
class CouchDBSettings:
    """
    `DISTSESSION["COUCHDB"]`. Times in seconds.
    """

    urls: tuple[str, ...]
    admin_urls: tuple[str, ...]
    database: str
    create: bool
    client: str | None
    timeout: float
    pool_size: int
    retry_after: float
    auth: str
    ca_file: str | None
    conditional_reads: bool
    cache_entries: int
    cache_bytes: int
    expiry_grace: int
    designs: str | None


@dataclass(frozen=True, slots=True)
class HybridSettings:
    """
    `DISTSESSION["HYBRID"]`. Times in seconds.
    """

    revalidate_after: float
    writes: str


@dataclass(frozen=True, slots=True)
class Settings:
    """
    `DISTSESSION`. Sections that the engine in use does not need may be None.
    """

    namespace: str
    hash_keys: bool
    codec: str
    touch_interval: int
    on_unavailable: str
    version_cookie: bool
    memcached: MemcachedSettings | None
    couchdb: CouchDBSettings | None
    hybrid: HybridSettings


def _as_tuple(value: Any) -> tuple[str, ...]:
    if not value:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


@dataclass(frozen=True, slots=True)
class Option:
    """
    One setting: its default and what it may be.
    """

    default: Any
    rule: rules.Rule


REQUIRED: Any = object()

SCHEMA: dict[str, dict[str, Option]] = {
    "": {
        "NAMESPACE": Option(None, rules.optional(rules.namespace)),
        "HASH_KEYS": Option(True, rules.boolean),
        "CODEC": Option("django_distsession.codecs.SignedCodec", rules.dotted_path),
        "TOUCH_INTERVAL": Option(300, rules.whole_seconds),
        "ON_UNAVAILABLE": Option("raise", rules.one_of("raise", "anonymous")),
        "VERSION_COOKIE": Option(False, rules.boolean),
    },
    "MEMCACHED": {
        "SERVERS": Option(REQUIRED, rules.servers),
        "REPLICAS": Option(None, rules.optional(rules.count)),
        "QUORUM": Option(1, rules.count),
        "TIMEOUT": Option(0.25, rules.seconds),
        "CONNECT_TIMEOUT": Option(0.25, rules.seconds),
        "POOL_SIZE": Option(32, rules.count),
        "RETRY_AFTER": Option(1.0, rules.seconds),
        "USERNAME": Option(None, rules.optional(rules.text)),
        "PASSWORD": Option(None, rules.optional(rules.text)),
        "TLS": Option(None, rules.optional(rules.tls)),
    },
    "COUCHDB": {
        "URL": Option(REQUIRED, rules.urls),
        "ADMIN_URL": Option(None, rules.optional(rules.urls)),
        "DATABASE": Option(None, rules.optional(rules.text)),
        "CREATE": Option(True, rules.boolean),
        "CLIENT": Option(None, rules.optional(rules.dotted_path)),
        "TIMEOUT": Option(2.0, rules.seconds),
        "POOL_SIZE": Option(32, rules.count),
        "RETRY_AFTER": Option(1.0, rules.seconds),
        "AUTH": Option("basic", rules.one_of("basic", "cookie")),
        "CA_FILE": Option(None, rules.optional(rules.file)),
        "CONDITIONAL_READS": Option(False, rules.boolean),
        "CACHE_ENTRIES": Option(1000, rules.count),
        "CACHE_BYTES": Option(32 * 1024 * 1024, rules.count),
        "EXPIRY_GRACE": Option(300, rules.whole_seconds),
        "DESIGNS": Option(None, rules.optional(rules.folder)),
    },
    "HYBRID": {
        "REVALIDATE_AFTER": Option(300, rules.not_negative),
        "WRITES": Option("couchdb", rules.one_of("couchdb", "either")),
    },
}


def needed_sections() -> tuple[str, ...]:
    """
    Return the sections that the engine in use needs; none for an engine that is not ours.
    """
    try:
        engine = import_module(settings.SESSION_ENGINE)
    except ImportError:
        # Django says so, and better, as soon as the engine is used.
        return ()
    return getattr(getattr(engine, "SessionStore", None), "needed_settings", ())


def full_name(section: str, key: str = "") -> str:
    """
    Return a setting's name as a user writes it.
    """
    return NAME + "".join(f'["{part}"]' for part in (section, key) if part)


class _Reader:
    """
    Reads the raw settings once, noting problems instead of raising.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        raw = getattr(settings, NAME, {})
        if not isinstance(raw, Mapping):
            self.add(BAD_VALUE, NAME, "must be a dict.")
            raw = {}
        sections = {section: raw.get(section, {}) for section in SCHEMA if section}
        top = {key: value for key, value in raw.items() if key not in sections}
        self.given: dict[str, Mapping[str, Any]] = {"": top, **sections}
        for section in sections:
            if not isinstance(self.given[section], Mapping):
                self.add(BAD_VALUE, full_name(section), "must be a dict.")
                self.given[section] = {}
        self.values = {section: dict(self._section(section)) for section in SCHEMA}

    def add(self, code: str, setting: str, message: str) -> None:
        self.problems.append(Problem(code, setting, f"{setting} {message}"))

    def _section(self, section: str) -> Iterator[tuple[str, Any]]:
        options, given = SCHEMA[section], self.given[section]
        for key in given:
            if key not in options:
                known = ", ".join([*options, *([] if section else [s for s in SCHEMA if s])])
                self.add(
                    UNKNOWN, full_name(section, str(key)), f"is no setting. There are: {known}."
                )
        for key, option in options.items():
            value = given.get(key, option.default)
            if value is REQUIRED:
                if self._is_needed(section):
                    self.add(
                        MISSING,
                        full_name(section, key),
                        f"must be set for this SESSION_ENGINE: {option.rule(None)}.",
                    )
                value = None
            elif wanted := option.rule(value):
                self.add(BAD_VALUE, full_name(section, key), f"must be {wanted}.")
                value = None if option.default is REQUIRED else option.default
            yield key, value

    def _is_needed(self, section: str) -> bool:
        if section == "COUCHDB" and self.given[section].get("CLIENT"):
            return False
        return bool(self.given[section]) or section in needed_sections()

    def memcached(self) -> MemcachedSettings | None:
        values = self.values["MEMCACHED"]
        if values["SERVERS"] is None:
            return None
        servers = tuple(values["SERVERS"])
        replicas = values["REPLICAS"] or min(2, len(servers))
        if replicas > len(servers):
            self.add(
                IMPOSSIBLE,
                full_name("MEMCACHED", "REPLICAS"),
                f"is {replicas}, but there are only {len(servers)} SERVERS. "
                f"Write {len(servers)} or less.",
            )
        if values["QUORUM"] > replicas:
            self.add(
                IMPOSSIBLE,
                full_name("MEMCACHED", "QUORUM"),
                f"is {values['QUORUM']}, more than the {replicas} replicas of a session. "
                f"Write {replicas} or less.",
            )
        username, password = values["USERNAME"], values["PASSWORD"]
        if (username is None) != (password is None):
            absent = "USERNAME" if username is None else "PASSWORD"
            self.add(
                IMPOSSIBLE,
                full_name("MEMCACHED", absent),
                "must be set too: memcached's authentication takes both.",
            )
        return MemcachedSettings(
            servers,
            replicas,
            values["QUORUM"],
            values["TIMEOUT"],
            values["CONNECT_TIMEOUT"],
            values["POOL_SIZE"],
            values["RETRY_AFTER"],
            (username, password) if username and password else None,
            self._tls_context(values["TLS"]),
        )

    def _tls_context(self, tls: Any) -> ssl.SSLContext | None:
        if tls is None or isinstance(tls, ssl.SSLContext):
            return tls
        files = {} if tls is True else tls
        try:
            context = ssl.create_default_context(cafile=files.get("CA_FILE"))
            if files.get("CERT_FILE"):
                context.load_cert_chain(files["CERT_FILE"], files.get("KEY_FILE"))
        except (ssl.SSLError, OSError) as error:
            self.add(
                IMPOSSIBLE,
                full_name("MEMCACHED", "TLS"),
                f"names files that cannot be used ({error.strerror or type(error).__name__}).",
            )
            return None
        return context

    def couchdb(self) -> CouchDBSettings | None:
        values = self.values["COUCHDB"]
        if values["URL"] is None and values["CLIENT"] is None:
            return None
        database = values["DATABASE"] or settings.SESSION_COOKIE_NAME.lower()
        if not is_database_name(database):
            origin = (
                "is" if values["DATABASE"] else "is not set, and the session cookie's name would be"
            )
            self.add(
                BAD_DATABASE,
                full_name("COUCHDB", "DATABASE"),
                f"{origin} {database!r}, which CouchDB refuses as the name of a database: a "
                "lower-case letter, then lower-case letters, digits and _ $ ( ) + - /. "
                f'Write "{suggest_database_name(database)}", for example.',
            )
        if values["CLIENT"]:
            self._import("COUCHDB", "CLIENT", values["CLIENT"])
        return CouchDBSettings(
            _as_tuple(values["URL"]),
            _as_tuple(values["ADMIN_URL"]),
            database,
            values["CREATE"],
            values["CLIENT"],
            values["TIMEOUT"],
            values["POOL_SIZE"],
            values["RETRY_AFTER"],
            values["AUTH"],
            self._ca_file(values["CA_FILE"]),
            values["CONDITIONAL_READS"],
            values["CACHE_ENTRIES"],
            values["CACHE_BYTES"],
            values["EXPIRY_GRACE"],
            self._designs(values["DESIGNS"]),
        )

    def _check_codec(self, path: str) -> None:
        if not self._import("", "CODEC", path):
            return
        codec = import_string(path)
        if not (isinstance(codec, type) and issubclass(codec, Codec)):
            self.add(BAD_PATH, full_name("", "CODEC"), f"names {path}, which is no codec.")
            return
        try:
            codec()
        except ImportError as error:
            self.add(
                BAD_PATH,
                full_name("", "CODEC"),
                f"is {path}, which needs a module that is not installed: {error}. For encryption: "
                "pip install 'django-distsession[encryption]'.",
            )

    def _designs(self, path: str | Path | None) -> str | None:
        if path is None:
            return None
        # It imports CouchDB's client, which sites without CouchDB need not wait for.
        from .stores.couchdb.designs import DesignError, own_designs

        try:
            own_designs(path)
        except DesignError as error:
            self.add(
                IMPOSSIBLE,
                full_name("COUCHDB", "DESIGNS"),
                f"holds a design document that cannot be used. {error}.",
            )
        return str(path)

    def _ca_file(self, path: str | Path | None) -> str | None:
        if path is None:
            return None
        try:
            ssl.create_default_context(cafile=path)
        except (ssl.SSLError, OSError) as error:
            self.add(
                IMPOSSIBLE,
                full_name("COUCHDB", "CA_FILE"),
                f"holds no certificates that can be used ({type(error).__name__}). Write the path "
                "of a file in PEM format.",
            )
        return str(path)

    def _import(self, section: str, key: str, path: str) -> bool:
        try:
            found = import_string(path)
        except ImportError as error:
            self.add(BAD_PATH, full_name(section, key), f"cannot be imported: {error}.")
            return False
        if not callable(found):
            self.add(BAD_PATH, full_name(section, key), f"names {path}, which is no callable.")
        return callable(found)

    def read(self) -> Settings:
        values = self.values[""]
        namespace = values["NAMESPACE"] or settings.SESSION_COOKIE_NAME.lower()
        if wanted := rules.namespace(namespace):
            self.add(
                BAD_VALUE,
                full_name("", "NAMESPACE"),
                f"is not set, and the session cookie's name will not do. Write {wanted}.",
            )
        self._check_codec(values["CODEC"])
        return Settings(
            namespace,
            values["HASH_KEYS"],
            values["CODEC"],
            values["TOUCH_INTERVAL"],
            values["ON_UNAVAILABLE"],
            values["VERSION_COOKIE"],
            self.memcached(),
            self.couchdb(),
            HybridSettings(
                self.values["HYBRID"]["REVALIDATE_AFTER"], self.values["HYBRID"]["WRITES"]
            ),
        )


def missing(section: str, key: str) -> ImproperlyConfigured:
    """
    Return the error for an engine whose section is not there.
    """
    return ImproperlyConfigured(
        f"{full_name(section, key)} must be set for this session engine: "
        f"{SCHEMA[section][key].rule(None)}."
    )


DATABASE_NAME = re.compile(r"[a-z][a-z0-9_$()+/-]{0,237}")


def is_database_name(name: str) -> bool:
    """
    Whether CouchDB takes this as the name of a database.
    """
    return bool(DATABASE_NAME.fullmatch(name))


def suggest_database_name(name: str) -> str:
    """
    Return a name that CouchDB takes and that is as near as possible to `name`.
    """
    cleaned = re.sub(r"[^a-z0-9_$()+/-]", "-", name.lower())
    return re.sub(r"^[^a-z]+", "", cleaned)[:238] or "sessions"


def problems() -> list[Problem]:
    """
    Return everything that is wrong with the settings.
    """
    reader = _Reader()
    reader.read()
    return reader.problems


@cache
def get() -> Settings:
    """
    Return the settings. `ImproperlyConfigured`, naming each setting, if something is wrong.
    """
    reader = _Reader()
    read = reader.read()
    if reader.problems:
        raise ImproperlyConfigured(" ".join(problem.message for problem in reader.problems))
    return read


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in (NAME, "SESSION_COOKIE_NAME", "SESSION_ENGINE"):
        get.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_distsession.conf")
