"""
The session that everybody stores: that of a logged-in customer, about 700 bytes of JSON.
"""

from __future__ import annotations

import itertools
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.serializers import JSONSerializer

READ_KEY = "_auth_user_id"
CHANGED_KEY = "last_seen"

# As many digits in the millionth operation as in the first.
_numbers = itertools.count(1_700_000_000_000)


def sample_session() -> dict[str, Any]:
    return {
        "_auth_user_id": "104829",
        "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
        "_auth_user_hash": "6bd5a2c31c1e4f7099f0d25c8a8fd8e8b2e6cf0f5a2b1f2d39f1c0b44a7de913",
        "_language": "en-gb",
        CHANGED_KEY: next(_numbers),
        "cart": [
            {"sku": "BK-20417", "title": "A Pattern Language", "quantity": 1, "price": "54.00"},
            {"sku": "TE-00311", "title": "Darjeeling, 250 g", "quantity": 2, "price": "12.50"},
            {"sku": "LA-77120", "title": "Desk lamp, brass", "quantity": 1, "price": "89.90"},
        ],
        "address": {"name": "Ada Lovelace", "street": "12 St James's Square", "city": "London"},
        "recently_viewed": [20417, 311, 77120, 90012, 4471, 13022, 8, 65119],
        "return_to": "/catalogue/lamps/?page=2&sort=price",
        "seen_cookie_notice": True,
    }


def sample_json() -> bytes:
    """
    Return the session as Django's serializer writes it.
    """
    return JSONSerializer().dumps(sample_session())


def change(session: SessionBase) -> None:
    """
    Set one key to what it never was before.
    """
    session[CHANGED_KEY] = next(_numbers)
