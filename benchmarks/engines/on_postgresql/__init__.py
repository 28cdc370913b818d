"""
Django's cached_db engine with its table in PostgreSQL, beside the one in SQLite.
"""

from __future__ import annotations
