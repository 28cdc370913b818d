"""
URLs of nodes, taken apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django_distsession.backends.couchdb import SessionStore
from django_distsession.stores.couchdb.http.address import Address
from tests.stores.couchdb.fake import FakeServer, reply

Engine = type[SessionStore]

MISSING = reply(404, {"error": "not_found", "reason": "missing"})
KEY = "a" * 32


def load(sessions: Engine) -> dict[str, Any]:
    return sessions(KEY).load()


def test_an_address_keeps_its_password_to_itself() -> None:
    address = Address("https://me:se%40cret@[::1]:6984/couch")
    assert (address.host, address.port, address.path) == ("::1", 6984, "/couch")
    assert address.credentials is not None
    assert address.credentials.reveal() == ("me", "se@cret")
    assert address.public == "https://[::1]:6984/couch"


def test_an_ipv6_server(faked: Engine, configure: Callable[..., None]) -> None:
    with FakeServer(host="::1") as fake:
        fake.default = MISSING
        configure(COUCHDB={"URL": f"http://[::1]:{fake.port}"})
        assert load(faked) == {}
        assert fake.requests[0].headers["host"] == f"[::1]:{fake.port}"
