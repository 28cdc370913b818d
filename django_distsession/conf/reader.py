"""
Reads the raw settings, completes them with defaults and collects every problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from django.conf import settings
from django.utils.module_loading import import_string

from ..codecs import Codec
from ..secret import Secret, wrapped_items
from . import files, rules
from .options import (
    REQUIRED,
    SCHEMA,
    CouchDBSettings,
    HybridSettings,
    MemcachedSettings,
    Settings,
)
from .problems import (
    BAD_DATABASE,
    BAD_PATH,
    BAD_VALUE,
    IMPOSSIBLE,
    MISSING,
    NAME,
    UNKNOWN,
    Problem,
    full_name,
)

T = TypeVar("T")


class Reader:
    """
    Reads the settings once, and collects problems instead of raising. A value stays wrapped until
    it is known to be no password.

    needed: the sections that the engine in use needs.
    """

    def __init__(self, needed: Sequence[str]) -> None:
        self._needed = needed
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
        return bool(self.given[section]) or section in self._needed

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
        for path in values["observers"]:
            self._import(full_name("", "OBSERVERS"), path)
        adapted = {
            "namespace": namespace,
            "observers": tuple(values["observers"]),
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
