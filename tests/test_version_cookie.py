from __future__ import annotations

from typing import Any

from django_distsession import version_cookie


def test_a_cookie_counts_for_the_session_that_it_was_signed_for() -> None:
    value = version_cookie.sign("id", 7)
    assert version_cookie.read(value, "id") == 7
    assert version_cookie.read(value, "another") == 0
    assert version_cookie.read(value.replace("7", "8", 1), "id") == 0


def test_the_name_follows_that_of_the_session_cookie(settings: Any) -> None:
    settings.SESSION_COOKIE_NAME = "shop"
    assert version_cookie.name() == "shop_version"


def test_a_cookie_signed_with_an_old_secret_key_still_counts(settings: Any) -> None:
    value = version_cookie.sign("id", 7)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 10
    assert version_cookie.read(value, "id") == 7
