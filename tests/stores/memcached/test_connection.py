"""
The ways to a server: IPv6, UNIX sockets, passwords, TLS.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from django_distsession.exceptions import StoreUnavailable
from testproject.servers import MemcachedNode

from .conftest import contents, stored


class Listening(MemcachedNode):
    """
    A node that listens elsewhere than on a loopback port, or not in plain text.
    """

    def __init__(self, where: Sequence[str], place: str, options: Sequence[str] = ()) -> None:
        super().__init__(options)
        self.where = list(where)
        self.place = place

    @property
    def address(self) -> str:
        return self.place.format(port=self.port)

    def command(self, folder: Path) -> Sequence[str]:
        program = shutil.which("memcached")
        assert program is not None
        user = ["-u", "root"] if os.geteuid() == 0 else []
        return [
            program,
            *[part.format(port=self.port) for part in self.where],
            *user,
            *self.options,
        ]

    def answers(self) -> bool:
        try:
            if self.address.startswith("/"):
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(self.address)
            else:
                host, _, port = self.address.rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), 1).close()
        except OSError:
            return False
        return True


def works(sessions: Any) -> bool:
    """
    Whether sessions are stored and found, by blocking calls and on an event loop.
    """
    return all(way(sessions) for way in WAYS)


def by_blocking_calls(sessions: Any) -> bool:
    key = stored(sessions, a=1)
    session = sessions(key)
    session["b"] = 2
    session.save()
    return contents(sessions, key) == {"a": 1, "b": 2}


def on_a_loop(sessions: Any) -> bool:
    return asyncio.run(save_and_load(sessions))


WAYS = (by_blocking_calls, on_a_loop)


async def save_and_load(sessions: Any) -> bool:
    session = sessions()
    await session.aset("a", 1)
    await session.asave()
    changed = sessions(session.session_key)
    await changed.aset("b", await changed.aget("a") + 1)
    await changed.asave()
    return bool(await sessions(session.session_key).aload() == {"a": 1, "b": 2})


def test_ipv6(use: Any) -> None:
    with Listening(["-l", "::1", "-p", "{port}", "-U", "0"], "[::1]:{port}") as node:
        assert works(use([node]))


def test_a_name_with_several_addresses(use: Any, nodes: list[MemcachedNode]) -> None:
    # Mostly "localhost" is ::1 first, where these nodes do not listen.
    assert works(use([f"localhost:{nodes[0].port}"]))


def test_every_address_of_a_name_is_tried(
    use: Any, nodes: list[MemcachedNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = (socket.SOCK_STREAM, 6, "")
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *args, **kwargs: [
            (socket.AF_INET6, *stream, ("::1", nodes[0].port, 0, 0)),
            (socket.AF_INET, *stream, ("127.0.0.1", nodes[0].port)),
        ],
    )
    assert works(use([f"sessions.example:{nodes[0].port}"]))


@pytest.mark.parametrize("prefix", ["", "unix:"])
def test_unix_socket(use: Any, prefix: str) -> None:
    # Paths of sockets are short, and those of temporary folders of pytest may not be.
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/memcached.sock"
        with Listening(["-s", path], path):
            assert works(use([prefix + path]))


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    path = tmp_path / "passwords"
    path.write_text("django:secret\nother:else\n")
    return path


def test_ascii_authentication(use: Any, passwords: Path) -> None:
    with MemcachedNode(["-Y", str(passwords)]) as node:
        assert works(use([node], USERNAME="django", PASSWORD="secret"))
        for way in WAYS:
            # Each of a process that has asked nobody yet.
            with pytest.raises(StoreUnavailable, match="refused USERNAME and PASSWORD"):
                way(use([node], USERNAME="django", PASSWORD="wrong"))
            with pytest.raises(StoreUnavailable, match="unauthenticated"):
                way(use([node]))


def test_a_server_without_the_text_protocol_is_named_with_a_reason(use: Any) -> None:
    # A memcached that demands SASL (-S) speaks the binary protocol only, which has neither replies
    # that name their key nor a future.
    where = ["-l", "127.0.0.1", "-p", "{port}", "-U", "0", "-B", "binary"]
    with (
        Listening(where, "127.0.0.1:{port}") as node,
        pytest.raises(StoreUnavailable, match="text protocol"),
    ):
        stored(use([node], USERNAME="django", PASSWORD="secret"), a=1)


class Authority:
    """
    A certificate authority for one test.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"CA of {folder.name}")])
        self.certificate = self._sign(self.name, self.key, is_authority=True)
        self.path = folder / "ca.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[str, str]:
        """
        Return the paths of a certificate for 127.0.0.1 and of its key.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key)
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(paths[0]), str(paths[1])

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, is_authority: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            # From Python 3.13 on, certificates must be all that the standard (RFC 5280) asks for.
            .add_extension(_key_usage(is_authority), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )


def _key_usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls_node(authority: Authority) -> Iterator[MemcachedNode]:
    """
    A memcached that takes TLS only, and only from clients with a certificate.
    """
    certificate, key = authority.issue("server")
    options = (
        f"ssl_chain_cert={certificate},ssl_key={key},ssl_ca_cert={authority.path},ssl_verify_mode=2"
    )
    where = ["-l", "127.0.0.1", "-p", "{port}", "-U", "0", "-Z", "-o", options]
    with Listening(where, "127.0.0.1:{port}") as node:
        yield node


def test_tls_with_a_client_certificate(
    use: Any, authority: Authority, tls_node: MemcachedNode
) -> None:
    certificate, key = authority.issue("client")
    files = {"CA_FILE": str(authority.path), "CERT_FILE": certificate, "KEY_FILE": key}
    sessions = use([tls_node], TLS=files)
    assert works(sessions)
    # One connection serves all of it: what TLS keeps to itself does not make it look stale.
    pool = sessions.get_store().nodes[0].pool
    (first,) = pool._idle
    key_ = stored(sessions, text="x" * 50_000)
    assert len(contents(sessions, key_)["text"]) == 50_000
    assert list(pool._idle) == [first]


def test_tls_with_a_context_of_ones_own(
    use: Any, authority: Authority, tls_node: MemcachedNode
) -> None:
    context = ssl.create_default_context(cafile=str(authority.path))
    context.load_cert_chain(*authority.issue("client"))
    assert works(use([tls_node], TLS=context))


def test_a_server_with_another_authority_is_not_trusted(
    use: Any, tls_node: MemcachedNode, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = Authority(folder)
    certificate, key = other.issue("client")
    files = {"CA_FILE": str(other.path), "CERT_FILE": certificate, "KEY_FILE": key}
    for way in WAYS:
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            way(use([tls_node], TLS=files))


def test_no_tls_without_a_client_certificate(
    use: Any, authority: Authority, tls_node: MemcachedNode
) -> None:
    for way in WAYS:
        with pytest.raises(StoreUnavailable):
            way(use([tls_node], TLS={"CA_FILE": str(authority.path)}))
