"""
The settings: read, completed with defaults and validated in this one place.

`problems()` serves the system checks; `get()` everybody else. Nothing that a check lets pass fails
later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from . import files, rules
from .codecs import Codec
from .options import (
    REQUIRED,
    SCHEMA,
    CouchDBSettings,
    HybridSettings,
    MemcachedSettings,
    Settings,
)
from .secret import Secret, wrapped_items

__all__ = [
    "NAME",
    "CouchDBSettings",
    "HybridSettings",
    "MemcachedSettings",
    "Problem",
    "Settings",
    "engine_in_use",
    "full_name",
    "get",
    "missing",
    "needed_sections",
    "problems",
]

NAME = "DISTSESSION"

T = TypeVar("T")


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


def engine_in_use() -> Any:
    """
    Return the `SessionStore` of `SESSION_ENGINE`; None if it was not made with this package.
    """
    try:
        engine = import_module(settings.SESSION_ENGINE)
    except ImportError:
        # Django says so, and better, as soon as the engine is used.
        return None
    session_store = getattr(engine, "SessionStore", None)
    return session_store if hasattr(session_store, "needed_settings") else None


def needed_sections() -> tuple[str, ...]:
    """
    Return the sections that the engine in use needs; none for an engine that is not ours.
    """
    return getattr(engine_in_use(), "needed_settings", ())


def full_name(section: str, key: str = "") -> str:
    """
    Return a setting's name as a user writes it.
    """
    return NAME + "".join(f'["{part}"]' for part in (section, key) if part)


class _Reader:
    """
    Reads the raw settings once, noting problems instead of raising. No variable holds a value of
    theirs before it is known to be no password.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        top = self._items(Secret(getattr(settings, NAME, {})), NAME)
        given = {
            section: self._items(top.pop(section, Secret({})), full_name(section))
            for section in SCHEMA
            if section
        }
        self.given: dict[str, dict[Any, Secret[Any]]] = {"": top, **given}
        self.values = {section: dict(self._section(section)) for section in SCHEMA}

    def add(self, code: str, setting: str, message: str) -> None:
        self.problems.append(Problem(code, setting, f"{setting} {message}"))

    def _items(self, mapping: Secret[Any], setting: str) -> dict[Any, Secret[Any]]:
        items = wrapped_items(mapping)
        if items is None:
            self.add(BAD_VALUE, setting, "must be a dict.")
        return items or {}

    def _section(self, section: str) -> Iterator[tuple[str, Any]]:
        """
        Yield each setting's attribute and value, None for one that is required and not there.
        """
        options, given = SCHEMA[section], self.given[section]
        for key in given:
            if key not in options:
                known = ", ".join([*options, *([] if section else [s for s in SCHEMA if s])])
                self.add(
                    UNKNOWN, full_name(section, str(key)), f"is no setting. There are: {known}."
                )
        for key, option in options.items():
            value = given.get(key, Secret(option.default))
            if value.reveal() is REQUIRED:
                if self._is_needed(section):
                    self.add(
                        MISSING,
                        full_name(section, key),
                        f"must be set for this SESSION_ENGINE: {option.rule(None)}.",
                    )
                value = Secret(None)
            elif wanted := option.rule(value.reveal()):
                self.add(BAD_VALUE, full_name(section, key), f"must be {wanted}.")
                value = Secret(None if option.default is REQUIRED else option.default)
            is_wrapped = option.secret and value.reveal() is not None
            yield option.attribute, value if is_wrapped else value.reveal()

    def _is_needed(self, section: str) -> bool:
        if section == "COUCHDB" and self.given[section].get("CLIENT", Secret(None)).reveal():
            return False
        return bool(self.given[section]) or section in needed_sections()

    def memcached(self) -> MemcachedSettings | None:
        values = self.values["MEMCACHED"]
        if values["servers"] is None:
            return None
        servers = tuple(values["servers"])
        replicas = values["replicas"] or min(2, len(servers))
        if replicas > len(servers):
            self.add(
                IMPOSSIBLE,
                full_name("MEMCACHED", "REPLICAS"),
                f"is {replicas}, but there are only {len(servers)} SERVERS. "
                f"Write {len(servers)} or less.",
            )
        if values["quorum"] > replicas:
            self.add(
                IMPOSSIBLE,
                full_name("MEMCACHED", "QUORUM"),
                f"is {values['quorum']}, more than the {replicas} replicas of a session. "
                f"Write {replicas} or less.",
            )
        if (values["username"] is None) != (values["password"] is None):
            absent = "USERNAME" if values["username"] is None else "PASSWORD"
            self.add(
                IMPOSSIBLE,
                full_name("MEMCACHED", absent),
                "must be set too: memcached's authentication takes both.",
            )
        tls_context = self._file("MEMCACHED", "TLS", files.tls_context)
        adapted = {"servers": servers, "replicas": replicas, "tls_context": tls_context}
        return MemcachedSettings(**{**values, **adapted})

    def couchdb(self) -> CouchDBSettings | None:
        values = self.values["COUCHDB"]
        if values["urls"] is None and values["client"] is None:
            return None
        database = values["database"] or settings.SESSION_COOKIE_NAME.lower()
        if not rules.is_database_name(database):
            origin = (
                "is" if values["database"] else "is not set, and the session cookie's name would be"
            )
            self.add(
                BAD_DATABASE,
                full_name("COUCHDB", "DATABASE"),
                f"{origin} {database!r}, which CouchDB refuses as the name of a database: a "
                "lower-case letter, then lower-case letters, digits and _ $ ( ) + - /. "
                f'Write "{rules.suggest_database_name(database)}", for example.',
            )
        if values["client"]:
            self._import(full_name("COUCHDB", "CLIENT"), values["client"])
        adapted = {
            "urls": _each(values["urls"]),
            "admin_urls": _each(values["admin_urls"]),
            "database": database,
            "ca_file": self._file("COUCHDB", "CA_FILE", files.ca_file),
            "designs": self._file("COUCHDB", "DESIGNS", files.designs),
        }
        return CouchDBSettings(**{**values, **adapted})

    def _check_codec(self, path: str) -> None:
        serializer = self._import("SESSION_SERIALIZER", settings.SESSION_SERIALIZER)
        if not self._import(full_name("", "CODEC"), path) or not serializer:
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

    def _file(self, section: str, key: str, look: Callable[[Any], T]) -> T | None:
        option = SCHEMA[section][key]
        try:
            return look(self.values[section][option.attribute])
        except files.Unusable as error:
            self.add(IMPOSSIBLE, full_name(section, key), str(error))
            return None

    def _import(self, setting: str, path: Any) -> bool:
        try:
            found = import_string(path)
        except (ImportError, AttributeError) as error:
            self.add(BAD_PATH, setting, f"cannot be imported: {error}.")
            return False
        if not callable(found):
            self.add(BAD_PATH, setting, f"names {path}, which is no callable.")
        return callable(found)

    def read(self) -> Settings:
        values = self.values[""]
        namespace = values["namespace"] or settings.SESSION_COOKIE_NAME.lower()
        if wanted := rules.namespace(namespace):
            self.add(
                BAD_VALUE,
                full_name("", "NAMESPACE"),
                f"is not set, and the session cookie's name will not do. Write {wanted}.",
            )
        self._check_codec(values["codec"])
        adapted = {
            "namespace": namespace,
            "memcached": self.memcached(),
            "couchdb": self.couchdb(),
            "hybrid": HybridSettings(**self.values["HYBRID"]),
        }
        return Settings(**{**values, **adapted})


def _each(urls: Secret[Any] | None) -> tuple[Secret[str], ...]:
    if urls is None:
        return ()
    if isinstance(urls.reveal(), str):
        return (urls,)
    return tuple(map(Secret, urls.reveal()))


def missing(section: str, key: str) -> ImproperlyConfigured:
    """
    Return the error for an engine whose section is not there.
    """
    return ImproperlyConfigured(
        f"{full_name(section, key)} must be set for this session engine: "
        f"{SCHEMA[section][key].rule(None)}."
    )


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
    if setting in (NAME, "SESSION_COOKIE_NAME", "SESSION_ENGINE", "SESSION_SERIALIZER"):
        get.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_distsession.conf")
