"""
System checks of the values in `DISTSESSION`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.utils.module_loading import import_string

from .. import conf
from ..engine import our_engine


@register(Tags.security)
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """
    E001 to E006: settings that are unknown, wrong or impossible.
    """
    if our_engine() is None and not hasattr(settings, conf.NAME):
        return []
    return [Error(problem.message, id=f"distsession.{problem.code}") for problem in conf.problems()]


@register(Tags.security)
def check_codec(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """
    E007: an unsigned codec with a serializer that can execute code, such as pickle.
    """
    if our_engine() is None or conf.problems():
        return []
    path = conf.get().codec
    pickles = "pickle" in settings.SESSION_SERIALIZER.lower()
    if not pickles or getattr(import_string(path), "authenticated", False):
        return []
    return [
        Error(
            f'DISTSESSION["CODEC"] is {path}, which does not notice altered sessions, and '
            f"SESSION_SERIALIZER is {settings.SESSION_SERIALIZER}: whoever can write to the store "
            "can run code here. Use django_distsession.codecs.SignedCodec, or a JSON serializer.",
            id="distsession.E007",
        )
    ]
