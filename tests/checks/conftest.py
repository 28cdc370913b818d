from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core import checks

from tests.conftest import engine_class

NOWHERE = "127.0.0.1:1"


def messages_of(*prefixes: str, deploy: bool = False) -> list[checks.CheckMessage]:
    messages = checks.run_checks(include_deployment_checks=deploy)
    return [message for message in messages if (message.id or "").startswith(prefixes)]


def reported_ids(deploy: bool = False) -> list[str]:
    return [message.id or "" for message in messages_of("distsession.", deploy=deploy)]


@pytest.fixture
def _good_settings(settings: Any) -> None:
    settings.SESSION_ENGINE = "django_distsession.backends.hybrid"
    settings.DISTSESSION = {
        "MEMCACHED": {"SERVERS": ["127.0.0.1:11211", "[::1]:11211", "/run/m.sock", "localhost:1"]},
        "COUCHDB": {"URL": "http://localhost:5984"},
    }


def reported_by_servers(databases: list[str] | None = None) -> list[tuple[str, str]]:
    messages = checks.run_checks(databases=["default"] if databases is None else databases)
    return [(m.id, m.msg) for m in messages if m.id and m.id.startswith("distsession.")]


@pytest.fixture
def servers(settings: Any, distsession: dict[str, Any], configure: Callable[..., None]) -> Any:
    """
    Return a function that changes the settings of the hybrid engine on real servers.
    """
    engine_class(settings, "hybrid")
    return configure
