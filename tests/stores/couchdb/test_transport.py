"""
Connections, logins, nodes and certificates.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import StoreMisconfigured, StoreUnavailable
from django_distsession.secret import Secret
from django_distsession.stores.couchdb.http.address import Address
from testproject.servers import CouchDBServer
from tests.conftest import engine_class
from tests.stores.couchdb.conftest import contents, stored
from tests.stores.couchdb.fake import FakeServer, Request, raw, reply, reset

Engine = type[SessionStore]

MISSING = reply(404, {"error": "not_found", "reason": "missing"})
KEY = "a" * 32


def load(sessions: Engine) -> dict[str, Any]:
    return sessions(KEY).load()


class TestKeepAlive:
    def test_a_connection_is_used_again(self, faked: Engine, fake: FakeServer) -> None:
        fake.default = MISSING
        for _ in range(3):
            load(faked)
        assert {request.connection for request in fake.requests} == {1}

    def test_one_that_the_server_closed_is_replaced(self, faked: Engine, fake: FakeServer) -> None:
        body = b'{"error":"not_found","reason":"missing"}'
        head = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body)
        fake.script = [raw(head + body, close=True)]
        fake.default = MISSING
        load(faked)
        load(faked)
        assert [request.connection for request in fake.requests] == [1, 2]

    def test_one_that_closes_under_the_request_is_retried_once(
        self, faked: Engine, fake: FakeServer
    ) -> None:
        fake.script = [MISSING, raw(b"", close=True), MISSING]
        load(faked)
        load(faked)
        assert [request.connection for request in fake.requests] == [1, 1, 2]
        fake.script = [raw(b"", close=True), raw(b"", close=True)]
        with pytest.raises(StoreUnavailable):
            load(faked)
        assert len(fake.requests) == 5

    def test_what_nobody_asked_for_is_never_an_answer(
        self, faked: Engine, fake: FakeServer
    ) -> None:
        body = b'{"error":"not_found","reason":"missing"}'
        answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        fake.script = [raw(answer)]
        fake.default = reply(200, {"unexpected": True})
        load(faked)
        # A second answer to the first request, on the connection that now lies in the pool.
        node = faked.get_store()._client._server.session.nodes[0]  # type: ignore[attr-defined]
        idle = node._pool._idle[0]
        fake_side = next(c for c in fake._connections if c.fileno() >= 0)
        fake_side.sendall(answer)
        arrived = idle._raw.recv(1, 2)
        assert arrived
        with pytest.raises(StoreUnavailable):
            faked(KEY).load()
        assert fake.requests[-1].connection == 2

    def test_a_connection_that_is_told_to_close_is_closed(
        self, faked: Engine, fake: FakeServer
    ) -> None:
        fake.default = reply(404, {"error": "not_found", "reason": "missing"}, Connection="close")
        load(faked)
        load(faked)
        assert [request.connection for request in fake.requests] == [1, 2]

    @pytest.mark.parametrize("length", ["told", "until it closes", "chunked"])
    def test_a_large_body_that_ends_the_connection_is_read_whole(
        self, faked: Engine, fake: FakeServer, length: str
    ) -> None:
        fake.script = [reply(201, {"rev": "1-a"})]
        key = stored(faked, a=1)
        document = {**fake.requests[0].body, "_rev": "1-a", "padding": "x" * 1_000_000}
        body = json.dumps(document).encode()
        head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n"
        if length == "told":
            head += b"Content-Length: %d\r\n" % len(body)
        elif length == "chunked":
            head += b"Transfer-Encoding: chunked\r\n"
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        fake.default = raw(head + b"\r\n" + body, close=True)
        for _ in range(2):
            assert contents(faked, key) == {"a": 1}

    def test_a_head_without_end_is_no_answer(self, faked: Engine, fake: FakeServer) -> None:
        fake.default = raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}")
        with pytest.raises(StoreUnavailable, match="HTTPException"):
            load(faked)
        fake.default = raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\n{}")
        with pytest.raises(StoreUnavailable, match="LineTooLong"):
            load(faked)

    def test_a_full_pool_waits(
        self, faked: Engine, fake: FakeServer, configure: Callable[..., None]
    ) -> None:
        configure(COUCHDB={"POOL_SIZE": 2, "TIMEOUT": 30})
        fake.default = MISSING
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: load(faked), range(40)))
        assert results == [{}] * 40
        assert len(fake._connections) <= 2

    def test_a_forked_child_uses_connections_of_its_own(
        self, faked: Engine, fake: FakeServer
    ) -> None:
        fake.default = MISSING
        load(faked)
        node = faked.get_store()._client._server.session.nodes[0]  # type: ignore[attr-defined]
        before = list(node._pool._idle)
        assert before
        node.reset_after_fork()
        assert not node._pool._idle
        load(faked)
        assert fake.requests[-1].connection == 2


class TestCookies:
    @pytest.fixture
    def cookies(self, faked: Engine, configure: Callable[..., None]) -> Engine:
        configure(COUCHDB={"AUTH": "cookie"})
        return faked

    @staticmethod
    def login(value: str) -> Any:
        return reply(200, {"ok": True}, Set_Cookie=f"AuthSession={value}; Version=1; HttpOnly")

    def test_one_login_serves_all(self, cookies: Engine, fake: FakeServer) -> None:
        fake.script = [self.login("one")]
        fake.default = MISSING
        load(cookies)
        load(cookies)
        assert fake.requests[0].method == "POST"
        assert fake.requests[0].target == "/_session"
        assert fake.requests[0].body == {"name": "user", "password": "p@ss"}
        assert [one.headers.get("cookie") for one in fake.requests[1:]] == ["AuthSession=one"] * 2
        assert not any("authorization" in one.headers for one in fake.requests)

    def test_an_expired_cookie_is_renewed(self, cookies: Engine, fake: FakeServer) -> None:
        refused = reply(401, {"error": "unauthorized", "reason": "expired"})
        fake.script = [self.login("one"), MISSING, refused, self.login("two"), MISSING]
        load(cookies)
        load(cookies)
        assert fake.requests[-1].headers["cookie"] == "AuthSession=two"

    def test_a_fresher_cookie_is_kept(self, cookies: Engine, fake: FakeServer) -> None:
        fresher = reply(
            404, {"error": "not_found", "reason": "missing"}, Set_Cookie="AuthSession=two; Path=/"
        )
        fake.script = [self.login("one"), fresher, MISSING]
        load(cookies)
        load(cookies)
        assert fake.requests[-1].headers["cookie"] == "AuthSession=two"

    @pytest.mark.parametrize("junk", ['"a\\012b"', '"a\\377"', '"a b"', "x" * 5000])
    def test_one_that_cannot_be_sent_is_not_kept(
        self, cookies: Engine, fake: FakeServer, junk: str
    ) -> None:
        refused = reply(401, {"error": "unauthorized", "reason": "no cookie"})
        fake.script = [self.login(junk), refused, self.login(junk), refused]
        with pytest.raises(StoreMisconfigured):
            load(cookies)
        fake.script = [self.login("one"), MISSING]
        load(cookies)
        assert fake.requests[-1].headers["cookie"] == "AuthSession=one"

    def test_a_wrong_password_is_said_once(self, cookies: Engine, fake: FakeServer) -> None:
        fake.default = reply(401, {"error": "unauthorized", "reason": "Name or password"})
        with pytest.raises(StoreMisconfigured, match="Check user and password"):
            load(cookies)
        assert len(fake.requests) <= 4

    def test_many_threads_log_in_once(self, cookies: Engine, fake: FakeServer) -> None:
        def answer(connection: Any, request: Request) -> bool:
            known = request.headers.get("cookie") == "AuthSession=one"
            if request.target == "/_session":
                return bool(self.login("one")(connection, request))
            return bool((MISSING if known else reply(401, {}))(connection, request))

        fake.default = answer
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: load(cookies), range(16)))
        assert fake.asked.count("POST /_session") == 1

    def test_on_the_real_server(self, sessions: Engine, configure: Callable[..., None]) -> None:
        configure(COUCHDB={"AUTH": "cookie"})
        key = stored(sessions, a=1)
        assert contents(sessions, key) == {"a": 1}
        node = sessions.get_store()._client._server.session.nodes[0]  # type: ignore[attr-defined]
        node.login.cookie = Secret("AuthSession=bm9ib2R5OjY5MDAwMDAwOgAAAAAAAAAA")
        assert contents(sessions, key) == {"a": 1}


class TestNodes:
    @pytest.fixture
    def other(self) -> Iterator[FakeServer]:
        with FakeServer() as server:
            yield server

    @pytest.fixture
    def cluster(
        self,
        faked: Engine,
        fake: FakeServer,
        other: FakeServer,
        configure: Callable[..., None],
    ) -> Engine:
        configure(COUCHDB={"URL": [fake.url, other.url], "RETRY_AFTER": 60.0})
        fake.default = other.default = MISSING
        return faked

    def test_a_session_goes_through_one_node_and_sessions_through_all(
        self, cluster: Engine, fake: FakeServer, other: FakeServer
    ) -> None:
        for number in range(20):
            for _ in range(2):
                cluster(f"{number:032}").load()
        assert len(fake.requests) + len(other.requests) == 40
        assert fake.requests
        assert other.requests
        paths = [{one.target for one in node.requests} for node in (fake, other)]
        assert paths[0].isdisjoint(paths[1])

    @pytest.mark.parametrize("how", ["hang", "reset", "refuse", "503"])
    def test_a_dead_one_is_skipped(
        self, cluster: Engine, fake: FakeServer, other: FakeServer, how: str
    ) -> None:
        if how == "refuse":
            fake.__exit__()
        fake.default = {"hang": fake.hang, "reset": reset, "503": reply(503, {})}.get(how, reset)
        for number in range(20):
            assert cluster(f"{number:032}").load() == {}
        assert len(other.requests) == 20
        if how == "hang":
            assert len(fake.requests) == 1

    def test_all_dead_is_an_outage_and_they_are_found_again(
        self, cluster: Engine, fake: FakeServer, other: FakeServer
    ) -> None:
        fake.default = other.default = reset
        with pytest.raises(StoreUnavailable):
            load(cluster)
        fake.default = MISSING
        assert load(cluster) == {}

    def test_each_has_its_own_address_and_password(
        self, faked: Engine, fake: FakeServer, configure: Callable[..., None]
    ) -> None:
        configure(COUCHDB={"URL": f"http://us%3Aer:p%2Fw@127.0.0.1:{fake.port}/couch/"})
        fake.default = MISSING
        load(faked)
        assert fake.requests[0].target.startswith("/couch/t")
        assert fake.requests[0].headers["authorization"] == "Basic dXM6ZXI6cC93"


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


def test_many_threads_share_one_store(sessions: Engine) -> None:
    keys = [stored(sessions, number=number) for number in range(8)]
    start = threading.Barrier(8)

    def work(number: int) -> set[Any]:
        start.wait()
        return {contents(sessions, keys[number])["number"] for _ in range(10)}

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [{number} for number in range(8)]


def test_a_forked_process_and_its_parent_read_their_own_replies(
    sessions: Engine, couchdb: CouchDBServer
) -> None:
    key = stored(sessions, a=1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            good = all(contents(sessions, key) == {"a": 1} for _ in range(5))
            os.write(writer, b"good" if good else b"bad")
        finally:
            os._exit(0)
    os.close(writer)
    mine = [contents(sessions, key) for _ in range(5)]
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"good"
    os.waitpid(child, 0)
    assert mine == [{"a": 1}] * 5


def test_status_tells_which_nodes_answer(settings: Any, distsession: dict[str, Any]) -> None:
    url = distsession["COUCHDB"]["URL"]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        distsession["COUCHDB"]["URL"] = [dead, url]
        settings.DISTSESSION = distsession
        sessions = engine_class(settings, "couchdb")
        for _ in range(24):
            sessions().create()
        down, up = sessions.status()
    assert (down["server"], down["up"]) == (dead, False)
    assert "ConnectionRefusedError" in down["last_error"]
    assert up["up"]
    assert "@" not in up["server"]
