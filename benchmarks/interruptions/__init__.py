"""
Exceptions that are thrown into requests at any moment, as time limits and signal handlers do.
"""

from __future__ import annotations
