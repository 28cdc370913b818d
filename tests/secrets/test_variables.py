from __future__ import annotations

from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from django.core import checks

import django_distsession
from testproject.servers import MemcachedNode
from tests.conftest import close_connections, engine_class
from tests.stores.couchdb.fake import FakeServer, Request, reply

from .conftest import KEY, errors_of, uses, with_password
from .error_reports import PASSWORD, URL, USER, watched

PACKAGE = str(Path(django_distsession.__file__).parent)
# What takes a password as it is, and cannot fail.
REVEALING = {
    "secret.py": None,
    "rules.py": None,
    "address.py": {"_credentials", "_basic", "_login"},
    "connection.py": {"_TimedSocket.sendall"},
    "protocol.py": {"authentication"},
}


def is_ours(code: CodeType) -> bool:
    if not code.co_filename.startswith(PACKAGE):
        return False
    excepted = REVEALING.get(Path(code.co_filename).name, set())
    return excepted is not None and code.co_qualname not in excepted


@pytest.mark.parametrize("auth", ["basic", "cookie"])
def test_no_variable_ever_shows_it(
    settings: Any, fake: FakeServer, tmp_path: Path, auth: str
) -> None:
    """
    An interruption may come at any line, so this looks at all functions as they end.
    """
    passwords = tmp_path / "passwords"
    passwords.write_text(f"{USER}:{PASSWORD}\n")
    missing = reply(404, {"error": "not_found", "reason": "missing"})
    logged_in = reply(200, {"ok": True}, Set_Cookie="AuthSession=bWU6; Path=/")

    def answer(connection: Any, request: Request) -> bool:
        return (logged_in if request.target == "/_session" else missing)(connection, request)

    fake.default = answer
    with MemcachedNode(["-Y", str(passwords)]) as node:
        login = {"USERNAME": USER, "PASSWORD": PASSWORD}
        settings.DISTSESSION = {
            "COUCHDB": {"URL": with_password(fake), "ADMIN_URL": URL, "AUTH": auth},
            "MEMCACHED": {"SERVERS": [node.address], **login},
        }
        sessions = engine_class(settings, "hybrid")
        with watched(is_ours) as found:
            assert sessions(KEY).load() == {}
            errors_of(*uses(sessions)[1:])
            checks.run_checks(include_deployment_checks=True, databases=["default"])
            close_connections(sessions)
        # It was there, and in use.
        assert sessions(KEY).load() == {}
        assert fake.requests[-1].headers["authorization" if auth == "basic" else "cookie"]
    assert found == []
