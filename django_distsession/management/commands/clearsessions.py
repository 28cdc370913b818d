"""
Django's `clearsessions`, which also tells what it did where the engine can say.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.sessions.management.commands import clearsessions
from django.core.management.base import CommandError

from ...exceptions import StoreError
from ...stores.base import Cleared


class Command(clearsessions.Command):
    """
    Removes expired sessions. Works unchanged for Django's own engines.
    """

    def handle(self, **options: Any) -> None:
        """
        Clear, and report counts.
        """
        engine = import_module(settings.SESSION_ENGINE)
        try:
            cleared = engine.SessionStore.clear_expired()
        except NotImplementedError:
            raise CommandError(
                f"Session engine '{settings.SESSION_ENGINE}' doesn't support clearing expired "
                "sessions."
            ) from None
        except StoreError as error:
            raise CommandError(str(error)) from error
        if isinstance(cleared, Cleared) and options["verbosity"] > 0:
            self.stdout.write(
                f"{cleared.seen} expired sessions seen: {cleared.purged} purged, "
                f"{cleared.deleted} deleted, {cleared.skipped} skipped."
            )
