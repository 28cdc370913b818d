from __future__ import annotations

from typing import Any

from django_distsession import version_cookie


def test_a_cookie_signed_with_an_old_secret_key_still_counts(settings: Any) -> None:
    value = version_cookie.sign("id", 7)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 10
    assert version_cookie.read(value, "id") == 7
