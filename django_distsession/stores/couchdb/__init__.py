"""
Records in CouchDB, one document per session.
"""

from __future__ import annotations

from .store import CouchDBStore

__all__ = ["CouchDBStore"]
