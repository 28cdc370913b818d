"""
No report of an error shows a password, wherever the error comes from.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from traceback import extract_tb
from types import CodeType
from typing import Any

import couchdb3
import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import RequestFactory
from django.views.debug import ExceptionReporter, get_default_exception_reporter_filter

import django_distsession
from django_distsession import conf
from django_distsession.backends.base import StoreBackedSession
from django_distsession.secret import Secret, without_frames
from django_distsession.stores.couchdb.client import Client
from django_distsession.stores.deadline import Deadline
from testproject.servers import MemcachedNode
from tests.conftest import close_connections, engine_class
from tests.error_reports import ENCODED, PASSWORD, USER, leaks, tells_it, watched
from tests.stores.couchdb.fake import Answer, FakeServer, Request, raw, reply, reset

PACKAGE = str(Path(django_distsession.__file__).parent)
URL = f"http://{USER}:{ENCODED}@127.0.0.1:5984"
KEY = "a" * 32

# What takes a password as it is, and cannot fail.
REVEALING = {
    "secret.py": None,
    "rules.py": None,
    "address.py": {"_credentials", "_basic", "_login"},
    "connection.py": {"_TimedSocket.sendall"},
    "protocol.py": {"authentication"},
}


class Interrupted(BaseException):
    """
    As a time-out of a greenlet's or a signal handler's.
    """


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def couchdb_at(settings: Any) -> Callable[..., type[StoreBackedSession]]:
    def use(url: str, **more: Any) -> type[StoreBackedSession]:
        settings.DISTSESSION = {"COUCHDB": {"URL": url, "TIMEOUT": 0.3, **more}}
        return engine_class(settings, "couchdb")

    return use


@pytest.fixture
def memcached_at(settings: Any) -> Callable[..., type[StoreBackedSession]]:
    def use(server: str, **more: Any) -> type[StoreBackedSession]:
        login = {"USERNAME": USER, "PASSWORD": PASSWORD}
        settings.DISTSESSION = {"MEMCACHED": {"SERVERS": [server], "TIMEOUT": 0.3, **login, **more}}
        return engine_class(settings, "memcached")

    return use


def with_password(fake: FakeServer) -> str:
    return f"http://{USER}:{ENCODED}@127.0.0.1:{fake.port}"


def errors_of(*calls: Callable[[], Any]) -> list[BaseException]:
    """
    Make the calls, each of which fails.
    """
    found: list[BaseException] = []
    for call in calls:
        try:
            call()
        except BaseException as error:
            found.append(error)
        else:
            pytest.fail("It was to fail.")
    return found


def uses(sessions: type[StoreBackedSession]) -> list[Callable[[], Any]]:
    def save() -> None:
        session = sessions()
        session["a"] = 1
        session.save()

    return [sessions(KEY).load, save]


def assert_keeps_it(errors: list[BaseException]) -> None:
    assert errors
    assert [leak for error in errors for leak in leaks(error)] == []


@pytest.mark.parametrize(
    "given",
    [
        URL,
        {"COUCHDB": URL},
        {"COUCHDB": [URL]},
        {"URL": URL},
        {"COUCHDB": {"URL": URL, "URLL": URL}},
        {"COUCHDB": {"URL": URL, "AUTH": URL}},
        {"COUCHDB": {"URL": URL.replace("http", "htp")}},
        {"COUCHDB": {"URL": URL.replace(ENCODED, PASSWORD)}},
        {"COUCHDB": {"URL": URL.replace(ENCODED, f"11/{PASSWORD}")}},
        {"COUCHDB": {"URL": URL + "\ud800"}},
        {"COUCHDB": {"URL": [URL, URL]}},
        {"COUCHDB": {"URL": URL, "ADMIN_URL": [URL, 1]}},
        {"COUCHDB": {"URL": URL, "DATABASE": "_"}},
        {"COUCHDB": {"URL": URL, "CA_FILE": __file__}},
        {"COUCHDB": {"URL": URL, "CLIENT": "no.such.function"}},
        {"COUCHDB": {"URL": URL}, "CODEC": "no.such.codec"},
        {"MEMCACHED": {"SERVERS": [f"{USER}:{PASSWORD}@127.0.0.1:11211"]}},
        {"MEMCACHED": {"SERVERS": [{"PASSWORD": PASSWORD}]}},
        {"MEMCACHED": {"SERVERS": ["a:1"], "PASSWORD": PASSWORD}},
        {"MEMCACHED": {"SERVERS": ["a:1"], "USERNAME": "a", "PASSWORD": PASSWORD + "\ud800"}},
        {"MEMCACHED": {"SERVERS": ["a:1"], "USERNAME": "a", "PASSWORD": [PASSWORD]}},
        {"MEMCACHED": {"SERVERS": ["a:1"], "PASSWRD": PASSWORD}},
    ],
)
def test_settings_that_cannot_be(settings: Any, given: Any) -> None:
    settings.DISTSESSION = given
    settings.SESSION_ENGINE = "django_distsession.backends.couchdb"
    errors = errors_of(conf.get)
    assert isinstance(errors[0], ImproperlyConfigured)
    assert_keeps_it(errors)
    messages = checks.run_checks(include_deployment_checks=True, databases=["default"])
    assert messages
    assert not any(tells_it(str(message)) for message in messages)


def test_settings_that_are_good_are_not_shown(settings: Any) -> None:
    login = {"USERNAME": USER, "PASSWORD": PASSWORD}
    settings.DISTSESSION = {
        "COUCHDB": {"URL": URL, "ADMIN_URL": [URL]},
        "MEMCACHED": {"SERVERS": ["a:1"], **login},
    }
    read = conf.get()
    assert read.couchdb is not None
    assert read.couchdb.urls[0].reveal() == URL
    assert read.memcached is not None
    assert read.memcached.credentials == Secret((USER, PASSWORD))
    assert not tells_it(f"{read!r} {read} {read.memcached.credentials}")


def test_an_engine_that_cannot_be_imported(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError(name)

    settings.DISTSESSION = {"COUCHDB": {"URL": URL}, "MEMCACHED": {}}
    monkeypatch.setattr(conf, "import_module", fail)
    assert_keeps_it(errors_of(conf.get))


ANSWERS: dict[str, Answer] = {
    "refused login": reply(401, {"error": "unauthorized", "reason": "Wrong password."}),
    "forbidden": reply(403, {"error": "forbidden", "reason": "You are no member."}),
    "no such database": reply(404, {"error": "not_found", "reason": "Database does not exist."}),
    "conflict": reply(409, {"error": "conflict", "reason": "Conflict."}),
    "refused request": reply(400, {"error": "bad_request", "reason": "No."}),
    "failure": reply(500, {"error": "internal", "reason": "No."}),
    "redirect": reply(301, {}, Location="http://127.0.0.1/"),
    "unavailable": reply(503, {}),
    "no JSON": reply(200, b"<html>"),
    "reset": reset,
    "closed": raw(b"", close=True),
}


@pytest.mark.parametrize("auth", ["basic", "cookie"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_couchdb_that_is_no_help(
    couchdb_at: Callable[..., Any], fake: FakeServer, auth: str, answer: Answer
) -> None:
    fake.default = answer
    sessions = couchdb_at(with_password(fake), AUTH=auth)
    store = sessions.get_store()
    collect = store.clear_expired
    calls = [*uses(sessions), collect, lambda: store.for_user("1")]
    assert_keeps_it(errors_of(*calls))
    assert fake.requests
    # And once more with a client that does everything its own way.
    client = couchdb3.Server(with_password(fake).replace(ENCODED, "x"), auth_method=auth)
    client._password = PASSWORD
    client._auth = None
    Made.client = client
    sessions = couchdb_at(with_password(fake), CLIENT="tests.test_secrets.made_client")
    with client:
        assert_keeps_it(errors_of(*uses(sessions)))


def test_a_client_of_ones_own_on_a_database_that_cannot_be(fake: FakeServer) -> None:
    server = couchdb3.Server(with_password(fake).replace(ENCODED, "x"), auth_method="basic")
    server._password = PASSWORD
    with server:
        assert_keeps_it(errors_of(lambda: Client(server, "No Name")))


class Made:
    client: Any = None


def made_client() -> Any:
    return Made.client


@pytest.mark.parametrize("auth", ["basic", "cookie"])
@pytest.mark.parametrize("how", ["hangs", "trickles", "interrupted", "no name", "gone"])
def test_couchdb_that_cannot_be_reached(
    couchdb_at: Callable[..., Any],
    fake: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    auth: str,
    how: str,
) -> None:
    url = with_password(fake)
    if how == "hangs":
        fake.default = fake.hang
    elif how == "trickles":
        fake.default = fake.trickle
    elif how == "interrupted":

        def interrupt(response: Any) -> None:
            raise Interrupted

        monkeypatch.setattr("http.client.HTTPResponse.read", interrupt)
    elif how == "no name":

        def unknown(*args: Any, **kwargs: Any) -> None:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    else:
        fake.__exit__()
    assert_keeps_it(errors_of(*uses(couchdb_at(url, AUTH=auth))))


@pytest.mark.parametrize("auth", ["basic", "cookie"])
def test_couchdb_without_tls(couchdb_at: Callable[..., Any], auth: str) -> None:
    with stuck(b"nonsense\r\n") as server:
        sessions = couchdb_at(f"https://{USER}:{ENCODED}@{server}", AUTH=auth)
        assert_keeps_it(errors_of(*uses(sessions)))


class StuckServer:
    """
    A memcached that does one thing only.
    """

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                connection.recv(1024)
                if self._answer is not None:
                    connection.sendall(self._answer)
                    connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._connections:
            connection.close()


# It takes the first line for a command, and the user for another.
REDIS = (
    "-ERR syntax error\r\n"
    f"-ERR unknown command '{USER}', with args beginning with: '{PASSWORD}'\r\n"
)


@contextmanager
def stuck(answer: bytes | None) -> Iterator[str]:
    server = StuckServer(answer)
    try:
        yield server.address
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        (b"", {}),
        (b"CLIENT_ERROR authentication failure\r\n", {}),
        (b"nonsense\r\n", {}),
        (b"nonsense\r\n", {"TLS": True}),
        (REDIS.encode(), {}),
        (f"ERROR {PASSWORD}\r\n".encode(), {}),
        (PASSWORD.encode(), {}),
        (None, {}),
    ],
    ids=[
        "hangs up",
        "wrong password",
        "no memcached",
        "no TLS",
        "Redis",
        "echo",
        "half a line",
        "hangs",
    ],
)
def test_memcached_that_is_no_help(
    memcached_at: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes | None,
    more: dict[str, Any],
) -> None:
    with stuck(answer) as server:
        sessions = memcached_at(server, **more)
        assert_keeps_it(errors_of(*uses(sessions)))
        # What such an error went through before it was understood.
        connect = sessions.get_store().nodes[0]._connect
        assert_keeps_it(errors_of(lambda: connect().connect(Deadline(0.3))))


@pytest.mark.parametrize("where", ["_readline", "MemcacheUnknownError"])
def test_memcached_interrupted_while_it_logs_in(
    memcached_at: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def interrupt(*args: Any) -> None:
        raise Interrupted

    monkeypatch.setattr(f"django_distsession.stores.memcached.connection.{where}", interrupt)
    with stuck(b"nonsense\r\n") as server:
        assert_keeps_it(errors_of(*uses(memcached_at(server))))


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


def test_frames_of_a_library_are_cut_off_and_no_more() -> None:
    def library(secret: str) -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    try:
        raise LookupError("of the caller")
    except LookupError as handled:
        outer = handled
        with pytest.raises(ValueError, match="outer") as caught:
            without_frames(lambda: library(PASSWORD))
    assert "library" not in [entry.name for entry in extract_tb(caught.value.__traceback__)]
    cause = caught.value.__cause__
    assert isinstance(cause, KeyError)
    assert cause.__traceback__ is None
    # It may be reported yet.
    assert outer.__traceback__ is not None


@pytest.mark.parametrize("ours", [True, False], ids=["our filter", "Django's"])
def test_djangos_reports_of_errors(settings: Any, ours: bool) -> None:
    """
    Settings are a part of them, in mails to ADMINS too.
    """
    settings.DISTSESSION = {"COUCHDB": {"URL": URL, "TIMEOUT": "soon"}}
    if ours:
        settings.DEFAULT_EXCEPTION_REPORTER_FILTER = (
            "django_distsession.debug.ExceptionReporterFilter"
        )
    request = RequestFactory().get("/", DISTSESSION_COUCHDB_URL=URL)
    cached: Any = get_default_exception_reporter_filter
    cached.cache_clear()
    try:
        (error,) = errors_of(conf.get)
        reporter = ExceptionReporter(request, type(error), error, error.__traceback__)
        for report in (reporter.get_traceback_html(), reporter.get_traceback_text()):
            assert "SESSION_COOKIE_AGE" in report
            assert tells_it(report) is not ours
    finally:
        cached.cache_clear()
