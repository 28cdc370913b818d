"""
The settings, each declared once: its type, its default and what it may be.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, fields
from typing import Any

from ..secret import Secret
from . import rules

REQUIRED: Any = object()


@dataclass(frozen=True, slots=True)
class Option:
    """
    One setting: its key, the attribute that holds it, its default and its rule.

    secret: whether it may hold a password, so that its value stays wrapped.
    """

    key: str
    attribute: str
    default: Any
    rule: rules.Rule
    secret: bool


def option(default: Any, rule: rules.Rule, *, key: str = "", secret: bool = False) -> Any:
    """
    Declare a setting. key: unless it is the attribute's name in upper case.
    """
    return field(metadata={"key": key, "default": default, "rule": rule, "secret": secret})


@dataclass(frozen=True, slots=True, kw_only=True)
class MemcachedSettings:
    """
    `DISTSESSION["MEMCACHED"]`. Times in seconds.
    """

    servers: tuple[str, ...] = option(REQUIRED, rules.servers)
    replicas: int = option(None, rules.optional(rules.count))
    quorum: int = option(1, rules.count)
    timeout: float = option(1.0, rules.seconds)
    connect_timeout: float = option(0.25, rules.seconds)
    pool_size: int = option(32, rules.count)
    retry_after: float = option(1.0, rules.seconds)
    username: str | None = option(None, rules.optional(rules.password))
    password: Secret[str] | None = option(None, rules.optional(rules.password), secret=True)
    tls_context: ssl.SSLContext | None = option(None, rules.optional(rules.tls), key="TLS")

    @property
    def credentials(self) -> Secret[tuple[str, str]] | None:
        """
        User name and password, if they are set.
        """
        if self.username is None or self.password is None:
            return None
        return Secret((self.username, self.password.reveal()))


@dataclass(frozen=True, slots=True, kw_only=True)
class CouchDBSettings:
    """
    `DISTSESSION["COUCHDB"]`. Times in seconds.
    """

    urls: tuple[Secret[str], ...] = option(REQUIRED, rules.urls, key="URL", secret=True)
    admin_urls: tuple[Secret[str], ...] = option(
        None, rules.optional(rules.urls), key="ADMIN_URL", secret=True
    )
    database: str = option(None, rules.optional(rules.text))
    create: bool = option(True, rules.boolean)
    client: str | None = option(None, rules.optional(rules.dotted_path))
    timeout: float = option(2.0, rules.seconds)
    index_timeout: float = option(10.0, rules.seconds)
    pool_size: int = option(32, rules.count)
    retry_after: float = option(1.0, rules.seconds)
    auth: str = option("basic", rules.one_of("basic", "cookie"))
    ca_file: str | None = option(None, rules.optional(rules.file))
    conditional_reads: bool = option(False, rules.boolean)
    cache_entries: int = option(1000, rules.count)
    cache_bytes: int = option(32 * 1024 * 1024, rules.count)
    expiry_grace: int = option(300, rules.whole_seconds)
    designs: str | None = option(None, rules.optional(rules.folder))


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridSettings:
    """
    `DISTSESSION["HYBRID"]`. Times in seconds.
    """

    revalidate_after: float = option(300, rules.not_negative)
    writes: str = option("couchdb", rules.one_of("couchdb", "either"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    `DISTSESSION`. Sections that the engine in use does not need may be None.
    """

    namespace: str = option(None, rules.optional(rules.namespace))
    hash_keys: bool = option(True, rules.boolean)
    codec: str = option("django_distsession.codecs.SignedCodec", rules.dotted_path)
    touch_interval: int = option(300, rules.whole_seconds)
    on_unavailable: str = option("raise", rules.one_of("raise", "anonymous"))
    version_cookie: bool = option(False, rules.boolean)
    observers: tuple[str, ...] = option((), rules.dotted_paths)
    memcached: MemcachedSettings | None
    couchdb: CouchDBSettings | None
    hybrid: HybridSettings


def _options(section: type) -> dict[str, Option]:
    declared = [
        Option(
            found.metadata["key"] or found.name.upper(),
            found.name,
            found.metadata["default"],
            found.metadata["rule"],
            found.metadata["secret"],
        )
        for found in fields(section)
        if found.metadata
    ]
    return {one.key: one for one in declared}


# By section; those of no section under "".
SCHEMA: dict[str, dict[str, Option]] = {
    "": _options(Settings),
    "MEMCACHED": _options(MemcachedSettings),
    "COUCHDB": _options(CouchDBSettings),
    "HYBRID": _options(HybridSettings),
}
