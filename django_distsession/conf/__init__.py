"""
The settings: read, completed with defaults and validated in this one place.

`problems()` is for the system checks, `get()` for everything else. Settings that pass the checks do
not fail later.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from ..engine import needed_sections
from .options import SCHEMA, CouchDBSettings, HybridSettings, MemcachedSettings, Settings
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
from .reader import Reader

__all__ = [
    "BAD_DATABASE",
    "BAD_PATH",
    "BAD_VALUE",
    "IMPOSSIBLE",
    "MISSING",
    "NAME",
    "UNKNOWN",
    "CouchDBSettings",
    "HybridSettings",
    "MemcachedSettings",
    "Problem",
    "Settings",
    "full_name",
    "get",
    "missing",
    "problems",
]


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
    reader = Reader(needed_sections())
    reader.read()
    return reader.problems


@cache
def get() -> Settings:
    """
    Return the settings. `ImproperlyConfigured`, naming each setting, if something is wrong.
    """
    reader = Reader(needed_sections())
    read = reader.read()
    if reader.problems:
        raise ImproperlyConfigured(" ".join(problem.message for problem in reader.problems))
    return read


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in (NAME, "SESSION_COOKIE_NAME", "SESSION_ENGINE", "SESSION_SERIALIZER"):
        get.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_distsession.conf")
