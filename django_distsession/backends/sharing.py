"""
What all sessions of one class share: found, and made anew when settings change.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any, ClassVar

from django.core.signals import setting_changed

from .. import conf
from ..stores.abilities import Closable, Monitored, parts_of
from ..stores.contract import Store
from .engine import Engine
from .records import Records


class SharesEngine:
    """
    Engines say which store is theirs by `make_store`.
    """

    # Which sections of DISTSESSION the engine cannot do without.
    needed_settings: ClassVar[tuple[str, ...]] = ()

    _engines: ClassVar[dict[type, Engine]] = {}

    @classmethod
    @abstractmethod
    def make_store(cls, settings: conf.Settings, records: Records) -> Store:
        """
        Return the engine's store. Called once per process, and again when settings change.
        """

    @classmethod
    def _engine(cls) -> Engine:
        engine = SharesEngine._engines.get(cls)
        if engine is None:
            # Two threads may both get here; stores connect lazily, so the loser costs nothing.
            engine = SharesEngine._engines.setdefault(cls, Engine(cls.make_store))
        return engine

    @cached_property
    def _shared(self) -> Engine:
        # Looked up once per session object: it is asked for at every step.
        return self._engine()

    @classmethod
    def get_store(cls) -> Store:
        """
        Return the store behind this engine.
        """
        return cls._engine().store

    @classmethod
    def stale_loads(cls) -> int:
        """
        Return how often this process had to use an older copy than a browser had seen.
        """
        return cls._engine().stale_loads

    @classmethod
    def storage_id(cls, session_key: str) -> str | None:
        """
        Return what the store files a session under, or None for a key that no session can have.
        """
        return cls._engine().storage_id(session_key)

    @classmethod
    def status(cls) -> list[dict[str, Any]]:
        """
        Tell how each server behind this engine is doing, as this process sees it.
        """
        parts = parts_of(cls.get_store())
        return [one for part in parts if isinstance(part, Monitored) for one in part.status()]

    @classmethod
    async def astatus(cls) -> list[dict[str, Any]]:
        """
        See `status`. Nothing is asked, so nothing waits.
        """
        return cls.status()


def _forget_engines(*, setting: str, **kwargs: Any) -> None:
    if setting.startswith(("DISTSESSION", "SESSION_", "SECRET_KEY")):
        for engine in SharesEngine._engines.values():
            if isinstance(engine.store, Closable):
                engine.store.close()
        SharesEngine._engines.clear()


# After conf's own receiver, which is connected when conf is imported.
setting_changed.connect(_forget_engines, dispatch_uid="django_distsession.backends")
