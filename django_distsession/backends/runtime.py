"""
What all sessions of one engine share: made when the engine is first used, and made anew when
settings change.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

# Importing the checks registers them, also where the app is not installed.
from .. import checks, conf
from ..clock import Clock
from ..observing import Event, Observers
from ..stores.abilities import Closable
from ..stores.contract import Store
from ..stores.observed import ObservedStore
from ..stores.operations import operations_of
from .queueing import SaveQueues
from .records import Records

WELL_FORMED_KEY = re.compile(r"[a-z0-9]{8,128}")


class Engine(Protocol):
    """
    What a runtime is made of: a `SessionStore`.
    """

    clock: ClassVar[Clock]

    @classmethod
    def make_store(cls, runtime: Runtime) -> Store:
        """
        Return the engine's store. Called once per process, and again when settings change.
        """


class Runtime:
    """
    records: turns states into records and back. operations: what sessions ask of the store.
    tell: what sessions and stores report to; None where there are no observers. name: what the
    store is called in reports. stale_loads: how many loads had to do with an older copy than a
    browser had seen.
    """

    def __init__(self, engine: type[Engine]) -> None:
        checks.installation.warn_unless_installed()
        self.settings = conf.get()
        observers = Observers([import_string(path) for path in self.settings.observers])
        self.tell = observers.tell if observers else None
        self.name = engine.__module__.rpartition(".")[2]
        self.records = Records(import_string(self.settings.codec)(), self.tell, self.name)
        self.clock = engine.clock
        self.queues = SaveQueues()
        self.stale_loads = 0
        self.store = engine.make_store(self)
        self.operations = operations_of(self.store)
        if self.tell:
            self.operations = ObservedStore(self.operations, self.name, self.tell, self.clock)
        self._hash_keys = self.settings.hash_keys

    def storage_id(self, session_key: str) -> str | None:
        """
        Return what the store files a session under, or None for a key that no session can have.
        """
        if self._hash_keys:
            return hashlib.sha256(session_key.encode("utf-8", "surrogatepass")).hexdigest()
        return session_key if WELL_FORMED_KEY.fullmatch(session_key) else None


def report(runtime: Runtime, kind: Callable[..., Event], *about: object) -> None:
    """
    Tell observers, if there are any, of an event of this kind.
    """
    if runtime.tell:
        runtime.tell(kind(runtime.name, *about))


class RuntimeOfEngine:
    """
    An attribute of engines and of their sessions: the engine's runtime.
    """

    def __get__(self, session: object | None, engine: type[Engine]) -> Runtime:
        runtime = runtimes.get(engine)
        if runtime is None:
            # Two threads may both get here; stores connect lazily, so the loser costs nothing.
            runtime = runtimes.setdefault(engine, Runtime(engine))
        if session is not None:
            # Looked up once per session object: it is asked for at every step.
            session.__dict__["runtime"] = runtime
        return runtime


runtimes: dict[type, Runtime] = {}


def _forget_runtimes(*, setting: str, **kwargs: Any) -> None:
    if setting.startswith(("DISTSESSION", "SESSION_", "SECRET_KEY")):
        for runtime in runtimes.values():
            if isinstance(runtime.store, Closable):
                runtime.store.close()
        runtimes.clear()


# After conf's own receiver, which is connected when conf is imported.
setting_changed.connect(_forget_runtimes, dispatch_uid="django_distsession.backends")
