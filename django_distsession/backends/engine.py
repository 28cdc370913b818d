"""
What all sessions of one engine share.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from django.utils.module_loading import import_string

# Importing the checks registers them, also where the app is not installed.
from .. import checks, conf
from ..stores.contract import Store
from .queueing import SaveQueues
from .records import Records

WELL_FORMED_KEY = re.compile(r"[a-z0-9]{8,128}")


class Engine:
    """
    What all sessions of one class share: the store and the way records are encoded.
    """

    def __init__(self, make_store: Callable[[conf.Settings, Records], Store]) -> None:
        checks.installation.warn_unless_installed()
        self.settings = conf.get()
        self.records = Records(import_string(self.settings.codec)())
        self.store = make_store(self.settings, self.records)
        self.queues = SaveQueues()
        self._hash_keys = self.settings.hash_keys
        # Loads of copies older than what the browser's version cookie says.
        self.stale_loads = 0

    def storage_id(self, session_key: str) -> str | None:
        """
        Return what the store files a session under, or None for a key that no session can have.
        """
        if self._hash_keys:
            return hashlib.sha256(session_key.encode("utf-8", "surrogatepass")).hexdigest()
        return session_key if WELL_FORMED_KEY.fullmatch(session_key) else None
