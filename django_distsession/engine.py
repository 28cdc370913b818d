"""
The session engine in use: the module that `SESSION_ENGINE` names.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from django.conf import settings


def _module() -> ModuleType:
    return import_module(settings.SESSION_ENGINE)


def current_engine() -> Any:
    """
    Return its `SessionStore`, whoever made it.
    """
    return _module().SessionStore


def our_engine() -> Any:
    """
    Return its `SessionStore`; None if it was not made with this package.
    """
    try:
        module = _module()
    except ImportError:
        # Django reports it when the engine is used.
        return None
    session_store = getattr(module, "SessionStore", None)
    return session_store if hasattr(session_store, "needed_settings") else None


def needed_sections() -> tuple[str, ...]:
    """
    Return the sections of DISTSESSION that it needs; none for an engine that is not ours.
    """
    return getattr(our_engine(), "needed_settings", ())
