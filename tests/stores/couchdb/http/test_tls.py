"""
Certificates.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import StoreUnavailable
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
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("authority")
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
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
