"""
Names that moved, for imports that have not been rewritten yet.
"""

from __future__ import annotations

from .abilities import Copy, DurableStore, UserSession
from .contract import Conflict, Found, Merge, Store, Token
from .garbage import BATCH_SIZE, Cleared, Sweep
from .record import Record

__all__ = [
    "BATCH_SIZE",
    "Cleared",
    "Conflict",
    "Copy",
    "DurableStore",
    "Found",
    "Merge",
    "Record",
    "Store",
    "Sweep",
    "Token",
    "UserSession",
]
