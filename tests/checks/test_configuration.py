from __future__ import annotations

from typing import Any

import pytest

from .conftest import reported_ids

pytestmark = pytest.mark.usefixtures("_good_settings")

SIGNED = "django_distsession.codecs.SignedCodec"
PLAIN = "django_distsession.codecs.JSONCodec"


def test_good_settings_pass() -> None:
    assert reported_ids(deploy=True) == []


def test_problems_in_the_settings_are_errors(settings: Any) -> None:
    settings.DISTSESSION = {"NAMESPCE": "x", "MEMCACHED": {"SERVERS": ["a:1"], "QUORUM": 2}}
    assert sorted(reported_ids()) == ["distsession.E001", "distsession.E003", "distsession.E004"]


def test_other_engines_are_left_alone(settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    settings.MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
    del settings.DISTSESSION
    assert reported_ids(deploy=True) == []


@pytest.mark.parametrize(("codec", "expected"), [(SIGNED, []), (PLAIN, ["distsession.E007"])])
def test_an_unsigned_codec_must_not_unpickle(
    settings: Any, codec: str, expected: list[str]
) -> None:
    settings.DISTSESSION = {**settings.DISTSESSION, "CODEC": codec}
    settings.SESSION_SERIALIZER = "tests.codecs.serializers.PickleSerializer"
    assert reported_ids() == expected


def test_an_engine_of_ones_own_is_checked_too(settings: Any) -> None:
    settings.SESSION_ENGINE = "tests.custom_engine"
    settings.DISTSESSION = {}
    assert reported_ids() == ["distsession.E004"]


def test_an_engine_of_somebody_elses_is_checked_as_far_as_it_goes(settings: Any) -> None:
    settings.SESSION_ENGINE = "tests.third_party.bare_engine"
    del settings.DISTSESSION
    assert reported_ids(deploy=True) == []
    settings.DISTSESSION = {"CODEK": SIGNED}
    assert reported_ids(deploy=True) == ["distsession.E001"]
