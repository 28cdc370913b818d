"""
The keys that Django has.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings


def secret_keys() -> Iterator[str | bytes]:
    """
    Yield the key to write with, then those that were in use before it.
    """
    yield settings.SECRET_KEY
    yield from settings.SECRET_KEY_FALLBACKS
