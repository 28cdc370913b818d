from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import couchdb3
import pytest

from django_distsession.stores.couchdb.client import Client
from tests.stores.couchdb.fake import Answer, FakeServer, raw, reply, reset

from .conftest import Interrupted, assert_keeps_it, errors_of, uses, with_password
from .error_reports import ENCODED, PASSWORD, USER
from .stuck_server import stuck

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
    sessions = couchdb_at(with_password(fake), CLIENT="tests.secrets.test_couchdb.made_client")
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
