"""
The version cookie: the latest generation of its session that a browser has seen.

It is signed together with the storage id, so it does not verify for another session. A cookie that
does not verify is ignored.
"""

from __future__ import annotations

from django.conf import settings
from django.core.signing import BadSignature, Signer


def name() -> str:
    return f"{settings.SESSION_COOKIE_NAME}_version"


def sign(storage_id: str, generation: int) -> str:
    """
    Return the cookie's value.
    """
    return _signer(storage_id).sign(str(generation))


def read(value: str, storage_id: str) -> int:
    """
    Return the generation that a cookie's value names, 0 if it was not signed for this session.
    """
    try:
        return int(_signer(storage_id).unsign(value))
    except (BadSignature, ValueError):
        return 0


def _signer(storage_id: str) -> Signer:
    return Signer(salt=f"{__name__}:{storage_id}")
