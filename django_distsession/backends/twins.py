"""
The async half of Django's contract: the sync half, run without blocking the event loop, nor the
one thread that all of Django shares.
"""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends.base import SessionBase

from .threads import in_thread


class AsyncTwins(SessionBase):
    """
    Each method does what its namesake without the `a` does.
    """

    async def aload(self) -> dict[str, Any]:
        """
        See `load`.
        """
        return await in_thread(self.load)

    async def aexists(self, session_key: str) -> bool:
        """
        See `exists`.
        """
        return await in_thread(self.exists, session_key)

    async def acreate(self) -> None:
        """
        See `create`.
        """
        await in_thread(self.create)

    async def acycle_key(self) -> None:
        """
        See `cycle_key`.
        """
        await in_thread(self.cycle_key)

    async def asave(self, must_create: bool = False) -> None:
        """
        See `save`.
        """
        await in_thread(self.save, must_create)

    async def adelete(self, session_key: str | None = None) -> None:
        """
        See `delete`.
        """
        await in_thread(self.delete, session_key)

    @classmethod
    async def aclear_expired(cls) -> None:
        """
        See `clear_expired`.
        """
        await in_thread(cls.clear_expired)
