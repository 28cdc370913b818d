"""
What all sessions of one engine share.
"""

from __future__ import annotations

from collections.abc import Callable

from django.utils.module_loading import import_string

from .. import conf
from ..stores.base import Store
from .records import Records


class Engine:
    """
    What all sessions of one class share: the store and the way records are encoded.
    """

    def __init__(self, make_store: Callable[[conf.Settings, Records], Store]) -> None:
        self.settings = conf.get()
        self.records = Records(import_string(self.settings.codec)())
        self.store = make_store(self.settings, self.records)
        # Loads of copies older than what the browser's version cookie says.
        self.stale_loads = 0
