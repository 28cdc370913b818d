from __future__ import annotations

from typing import Any

import pytest
from django.core import checks
from django.core.management import call_command

from .conftest import assert_keeps_it, errors_of
from .error_reports import ENCODED, PASSWORD, USER, tells_it


@pytest.mark.parametrize(
    "command", [["clearsessions"], ["migratedesigndocs"], ["repairsessions"]], ids=str
)
def test_commands_without_their_servers(settings: Any, command: list[str]) -> None:
    login = {"USERNAME": USER, "PASSWORD": PASSWORD}
    url = f"http://{USER}:{ENCODED}@127.0.0.1:1"
    settings.SESSION_ENGINE = "django_distsession.backends.hybrid"
    settings.DISTSESSION = {
        "COUCHDB": {"URL": url, "ADMIN_URL": url},
        "MEMCACHED": {"SERVERS": ["127.0.0.1:1"], **login},
    }
    assert_keeps_it(errors_of(lambda: call_command(*command)))
    for message in checks.run_checks(include_deployment_checks=True, databases=["default"]):
        assert not tells_it(str(message))
