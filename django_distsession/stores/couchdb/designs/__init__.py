"""
Design documents, bundled ones and a project's own: their files, set-up and migration.
"""

from __future__ import annotations

from .design import (
    Design,
    DesignError,
    bundled_designs,
    forgotten_versions,
    own_designs,
    read_designs,
)

__all__ = [
    "Design",
    "DesignError",
    "bundled_designs",
    "forgotten_versions",
    "own_designs",
    "read_designs",
]
