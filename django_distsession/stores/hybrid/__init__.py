"""
Records in a durable store, with copies of them in a cache in front of it.
"""

from __future__ import annotations

from .store import HybridStore

__all__ = ["HybridStore"]
