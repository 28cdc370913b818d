"""
`SESSION_ENGINE = "django_distsession.backends.memory"`: sessions in the memory of one process, for
a site's own tests.
"""

from __future__ import annotations

from ..stores.memory import MemoryStore
from .base import StoreBackedSession
from .runtime import Runtime

# One for the process: settings that change in the middle of a test must not log anybody out.
STORE = MemoryStore()


class SessionStore(StoreBackedSession):
    """
    A session in memory. Other processes know nothing of it, and neither does this one after a
    restart.
    """

    @classmethod
    def make_store(cls, runtime: Runtime) -> MemoryStore:
        return STORE
