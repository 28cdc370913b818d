from __future__ import annotations

from typing import Any

import pytest

from django_distsession.backends import couchdb, hybrid
from django_distsession.engine import current_engine, needed_sections, our_engine
from tests import custom_engine


def test_an_engine_of_ours_is_found_with_the_sections_that_it_needs(settings: Any) -> None:
    settings.SESSION_ENGINE = "django_distsession.backends.hybrid"
    assert current_engine() is our_engine() is hybrid.SessionStore
    assert needed_sections() == ("MEMCACHED", "COUCHDB")


def test_so_is_one_that_a_site_made_of_it(settings: Any) -> None:
    settings.SESSION_ENGINE = "tests.custom_engine"
    assert our_engine() is custom_engine.SessionStore
    assert needed_sections() == couchdb.SessionStore.needed_settings


@pytest.mark.parametrize("engine", ["django.contrib.sessions.backends.db", "tests.conftest"])
def test_another_engine_is_none_of_ours(settings: Any, engine: str) -> None:
    settings.SESSION_ENGINE = engine
    assert our_engine() is None
    assert needed_sections() == ()


def test_an_engine_that_cannot_be_imported_is_for_django_to_report(settings: Any) -> None:
    settings.SESSION_ENGINE = "no.such.engine"
    assert our_engine() is None
    with pytest.raises(ImportError):
        current_engine()
