"""
Sessions as tests look at them, and what may stand between them and their store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from django_distsession.backends.base import StoreBackedSession
from django_distsession.backends.runtime import Runtime
from django_distsession.clock import Clock
from django_distsession.stores.contract import Store, Token, Versioned
from django_distsession.stores.operations import operations_of
from django_distsession.stores.record import Record

Engine = type[StoreBackedSession]

SUSPICIOUS = "django.security.SuspiciousSession"


class Interposed(Store):
    """
    Passes on all that sessions ask of a store. Tests count it, or put methods of theirs in place of
    these.
    """

    refresh: Callable[..., Versioned | None]

    def __init__(self, store: Any) -> None:
        self._store = store
        # Not every store can be asked to refresh.
        if hasattr(store, "refresh"):
            self.refresh = store.refresh

    def get(self, storage_id: str) -> Versioned | None:
        return self._store.get(storage_id)  # type: ignore[no-any-return]

    def add(self, storage_id: str, record: Record) -> Token:
        return self._store.add(storage_id, record)

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        return self._store.replace(storage_id, record, token)

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        self._store.end(storage_id, expires_at, token)


_interposed: WeakKeyDictionary[Runtime, Interposed] = WeakKeyDictionary()


def interposed(session_class: Engine) -> Interposed:
    """
    Return what stands between an engine's sessions and its store from now on, until settings
    change.
    """
    runtime = session_class.runtime
    if runtime not in _interposed:
        _interposed[runtime] = Interposed(runtime.store)
        runtime.operations = operations_of(_interposed[runtime])
    return _interposed[runtime]


class Calls:
    """
    Counts the calls that reach a store.
    """

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        for name in ("get", "add", "replace", "end"):
            monkeypatch.setattr(store, name, self._counted(name, getattr(store, name)))

    def _counted(self, name: str, method: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.names.append(name)
            return method(*args, **kwargs)

        return counted

    def __eq__(self, other: object) -> bool:
        names, self.names = self.names, []
        return names == other


def set_clock(session_class: Engine, now: float) -> None:
    """
    Have this engine's sessions take it to be this moment, until settings change.
    """
    session_class.runtime.clock = Clock(now=lambda: now)


def contents(session_class: Engine, key: str) -> dict[str, Any]:
    return dict(session_class(key).items())


def save_elsewhere(session_class: Engine, key: str, **values: Any) -> None:
    session = session_class(key)
    for name, value in values.items():
        session[name] = value
    session.save()
