"""
Certificates.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import StoreUnavailable
from tests.certificates import self_signed
from tests.stores.couchdb.fake import FakeServer, reply

Engine = type[SessionStore]

MISSING = reply(404, {"error": "not_found", "reason": "missing"})
KEY = "a" * 32


def load(sessions: Engine) -> dict[str, Any]:
    return sessions(KEY).load()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A certificate for 127.0.0.1 that signs itself, and its key.
    """
    folder = tmp_path_factory.mktemp("authority")
    self_signed(folder)
    return folder


class TestHTTPS:
    @pytest.fixture
    def secure(self, authority: Path) -> Iterator[FakeServer]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority / "ca.pem", authority / "key.pem")
        with FakeServer(context) as server:
            server.default = MISSING
            yield server

    def test_a_ca_of_ones_own(
        self,
        faked: Engine,
        secure: FakeServer,
        authority: Path,
        configure: Callable[..., None],
    ) -> None:
        configure(COUCHDB={"URL": secure.url, "CA_FILE": str(authority / "ca.pem")})
        assert load(faked) == {}

    def test_a_server_that_no_authority_vouches_for_is_not_trusted(
        self, faked: Engine, secure: FakeServer, configure: Callable[..., None]
    ) -> None:
        configure(COUCHDB={"URL": secure.url})
        with pytest.raises(StoreUnavailable, match="SSLCertVerificationError"):
            load(faked)
        assert secure.requests == []
