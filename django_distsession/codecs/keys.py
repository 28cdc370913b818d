"""
Django's secret keys.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings


def secret_keys() -> Iterator[str | bytes]:
    """
    Yield the key to write with, then the fallbacks, which only read.
    """
    yield settings.SECRET_KEY
    yield from settings.SECRET_KEY_FALLBACKS
