"""
What users get when CouchDB, or something in between, misbehaves, and that nothing is lost.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Any

import pytest

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import (
    RecordTooLarge,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
)
from django_distsession.stamps import Stamp
from django_distsession.stores.couchdb.designs import bundled_designs
from django_distsession.stores.couchdb.http.connection import Connection
from django_distsession.stores.record import Record
from tests.stores.couchdb.conftest import storage_id, stored
from tests.stores.couchdb.fake import Answer, FakeServer, Request, raw, reply, reset

Engine = type[SessionStore]

MISSING = reply(404, {"error": "not_found", "reason": "missing"})
STORED = reply(201, {"ok": True, "rev": "2-abc"})


def error(status: int, name: str = "error", why: str = "why") -> Answer:
    return reply(status, {"error": name, "reason": why})


def endless(part: bytes) -> Answer:
    """
    An answer that goes on until somebody hangs up.
    """

    def answer(connection: Any, request: Request) -> bool:
        while True:
            connection.sendall(part)

    return answer


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NESTED = b"[" * 100_000 + b"]" * 100_000

# An answer to each request, the error it becomes, and what its message has to tell.
ANSWERS: dict[str, tuple[Answer, type[StoreError], str]] = {
    "400": (error(400, "bad_request"), StoreUnavailable, "bad_request: why"),
    "401": (error(401, "unauthorized"), StoreMisconfigured, "Check user and password"),
    "403": (error(403, "forbidden"), StoreMisconfigured, "a member of the database"),
    "404 of a proxy": (reply(404, b"<html>"), StoreUnavailable, "NotFoundError"),
    "405": (error(405, "method_not_allowed"), StoreUnavailable, "method_not_allowed: why"),
    "406": (error(406, "not_acceptable"), StoreUnavailable, "not_acceptable: why"),
    "409 to whatever": (error(409, "conflict"), StoreUnavailable, "conflict: why"),
    "412": (error(412, "precondition_failed"), StoreUnavailable, "precondition_failed"),
    "429": (error(429), StoreUnavailable, "429"),
    "500": (error(500, "internal_server_error"), StoreUnavailable, "internal_server_error"),
    "502": (error(502), StoreUnavailable, "502"),
    "503": (error(503), StoreUnavailable, "503"),
    "504": (error(504), StoreUnavailable, "504"),
    "no JSON": (reply(200, b"<html>hello</html>"), StoreUnavailable, "not the JSON"),
    "other JSON": (reply(200, [1]), StoreUnavailable, "not the JSON"),
    "of a gateway": (reply(200, {"status": "ok"}), StoreUnavailable, "gives no usable answer"),
    "another document": (
        reply(200, {"_id": "b" * 64, "_rev": "1-a", "id": "b" * 64, "rev": "1-a"}),
        StoreUnavailable,
        "something else than",
    ),
    "revisions that are none": (
        reply(200, {"_id": "a" * 64, "_rev": 1, "id": "a" * 64, "rev": 1}),
        StoreUnavailable,
        "something else than",
    ),
    "nested JSON": (reply(200, NESTED), StoreUnavailable, "nested too deeply"),
    "too large": (
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n"),
        StoreUnavailable,
        "a body of more than",
    ),
    "too large a chunk": (raw(CHUNKED + b"ffffffffffff\r\n"), StoreUnavailable, "a body of more"),
    "no chunk": (raw(CHUNKED + b"-1\r\n", close=True), StoreUnavailable, "HTTPException"),
    "unended chunk": (raw(CHUNKED + b"1\r\n{}}\r\n"), StoreUnavailable, "HTTPException"),
    "endless chunks": (
        endless(CHUNKED + (b"100000\r\n" + b"x" * 0x100000 + b"\r\n") * 100),
        StoreUnavailable,
        "a body of more than",
    ),
    "endless headers": (
        endless(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000),
        StoreUnavailable,
        "HTTPException",
    ),
    "endless interim": (
        endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        StoreUnavailable,
        "HTTPException",
    ),
    "redirect": (reply(302, b"", Location="http://other/"), StoreUnavailable, "a redirect"),
    "cut short": (
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{", close=True),
        StoreUnavailable,
        "IncompleteRead",
    ),
    "no HTTP": (raw(b"220 mail.example ESMTP\r\n", close=True), StoreUnavailable, "BadStatusLine"),
    "closed": (raw(b"", close=True), StoreUnavailable, "RemoteDisconnected"),
    "reset": (reset, StoreUnavailable, "ConnectionResetError"),
}


@pytest.fixture
def loaded(faked: Engine, fake: FakeServer) -> tuple[SessionStore, dict[str, Any]]:
    """
    A session that the fake server holds, loaded, and its document.
    """
    fake.script = [reply(201, {"rev": "1-abc"})]
    key = stored(faked, a=1)
    document = {**fake.requests[0].body, "_rev": "1-abc"}
    session = faked(key)
    fake.script = [reply(200, document)]
    assert session["a"] == 1
    fake.requests.clear()
    return session, document


@pytest.mark.parametrize("name", ANSWERS)
class TestAnswers:
    def test_of_a_load(self, loaded: Any, faked: Engine, fake: FakeServer, name: str) -> None:
        fake.default, kind, told = ANSWERS[name]
        session = faked(loaded[0].session_key)
        with pytest.raises(kind, match=told) as caught:
            session.load()
        assert caught.value.__cause__ is not None
        assert session.session_key == loaded[0].session_key
        fake.default = reply(200, loaded[1])
        assert session["a"] == 1

    def test_of_a_save(self, loaded: Any, fake: FakeServer, name: str) -> None:
        session = loaded[0]
        fake.default, kind, told = ANSWERS[name]
        session["b"] = 2
        with pytest.raises(kind, match=told) as caught:
            session.save()
        assert caught.value.__cause__ is not None
        # The change is still there, and can be saved later.
        fake.default = STORED
        session.save()
        put = fake.requests[-1]
        assert (put.method, put.body["_rev"]) == ("PUT", "1-abc")
        assert dict(session.items()) == {"a": 1, "b": 2}

    def test_of_an_end(self, loaded: Any, fake: FakeServer, name: str) -> None:
        session = loaded[0]
        fake.default, kind, told = ANSWERS[name]
        with pytest.raises(kind, match=told):
            session.delete()
        fake.default = STORED
        session.delete()
        assert fake.requests[-1].body["ended"] is True

    def test_tell_no_password_and_no_id(
        self, loaded: Any, faked: Engine, fake: FakeServer, name: str, caplog: Any
    ) -> None:
        caplog.set_level(logging.DEBUG)
        fake.default, kind, _ = ANSWERS[name]
        with pytest.raises(kind) as caught:
            faked(loaded[0].session_key).load()
        chain: BaseException | None = caught.value
        said = caplog.text
        while chain is not None:
            said += f"{chain!r} {chain}"
            chain = chain.__cause__ or chain.__context__
        for secret in ("p@ss", "p%40ss", "dXNlcjpwQHNz", loaded[1]["_id"]):
            assert secret not in said


def test_a_missing_document_is_no_session(loaded: Any, faked: Engine, fake: FakeServer) -> None:
    for why in ("missing", "deleted"):
        fake.default = reply(404, {"error": "not_found", "reason": why})
        session = faked(loaded[0].session_key)
        assert session.load() == {}
        assert session.session_key is None


def test_a_missing_database_is_set_up(faked: Engine, fake: FakeServer) -> None:
    gone = reply(404, {"error": "not_found", "reason": "Database does not exist."})
    made = reply(201, {"ok": True, "rev": "1-a"})
    fake.script = [gone, gone, made, *[MISSING, made] * len(bundled_designs()), MISSING]
    assert faked("a" * 32).load() == {}
    look_and_put = ["GET", "PUT"] * len(bundled_designs())
    assert [one.split()[0] for one in fake.asked] == ["GET", "GET", "PUT", *look_and_put, "GET"]


def test_a_session_too_large(loaded: Any, fake: FakeServer) -> None:
    session, document = loaded
    session["big"] = secrets.token_hex(1000)
    fake.default = reply(413, {"error": "document_too_large", "reason": document["_id"]})
    with pytest.raises(RecordTooLarge) as caught:
        session.save()
    assert caught.value.size > 1000
    assert document["_id"] not in str(caught.value)
    del session["big"]
    session["small"] = 1
    fake.default = STORED
    session.save()
    assert fake.requests[-1].body["_rev"] == "1-abc"


def test_a_refusal_that_comes_before_all_was_sent(faked: Engine, fake: FakeServer) -> None:
    # A server may answer and close before it has read a large body.
    record = Record(Stamp(1, "tag"), 1, 1, b"x" * 12_000_000)
    fake.read_bodies = False
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}"
    fake.default = raw(answer, close=True)
    with pytest.raises(RecordTooLarge):
        faked.get_store().add("a" * 64, record)


class TestLostReplies:
    """
    A PUT took place, and its reply did not arrive.
    """

    @pytest.mark.parametrize(
        "lost",
        [reset, raw(b"", close=True), raw(b"HTTP/1.1 201 Created\r\nContent-Le", close=True)],
        ids=["reset", "closed", "cut short"],
    )
    def test_a_save_is_found_to_be_ours(self, loaded: Any, fake: FakeServer, lost: Answer) -> None:
        session, _ = loaded

        def ours(connection: Any, request: Request) -> bool:
            return reply(200, {**fake.requests[0].body, "_rev": "2-abc"})(connection, request)

        fake.script = [lost, error(409, "conflict"), ours]
        session["b"] = 2
        session.save()
        assert [one.method for one in fake.requests] == ["PUT", "PUT", "GET"]
        # It goes on from there.
        fake.default = reply(201, {"rev": "3-abc"})
        session["c"] = 3
        session.save()
        assert fake.requests[-1].body["_rev"] == "2-abc"

    def test_a_new_session_is_found_to_be_ours(self, faked: Engine, fake: FakeServer) -> None:
        def ours(connection: Any, request: Request) -> bool:
            return reply(200, {**fake.requests[0].body, "_rev": "1-abc"})(connection, request)

        fake.script = [reset, error(409, "conflict"), ours]
        key = stored(faked, a=1)
        assert len({one.target for one in fake.requests[:2]}) == 1
        assert storage_id(faked, key) in fake.requests[0].target

    def test_what_others_saved_is_still_a_conflict(self, loaded: Any, fake: FakeServer) -> None:
        session, document = loaded
        fake.script = [reset, error(409, "conflict"), reply(200, {**document, "_rev": "2-other"})]
        fake.default = reply(201, {"rev": "3-abc"})
        session["b"] = 2
        session.save()
        assert fake.requests[-1].body["_rev"] == "2-other"


@pytest.mark.usefixtures("impatient")
class TestTime:
    """
    A time-out is for the whole request, whatever the server does.
    """

    @pytest.mark.parametrize("how", ["hang", "trickle"])
    @pytest.mark.parametrize("what", ["load", "save", "delete"])
    def test_a_server_that_never_answers(
        self, loaded: Any, faked: Engine, fake: FakeServer, how: str, what: str
    ) -> None:
        session = loaded[0] if what != "load" else faked(loaded[0].session_key)
        fake.default = getattr(fake, how)
        if what == "save":
            session["b"] = 2
        with pytest.raises(StoreUnavailable, match="TimeoutError"):
            getattr(session, what)()
        # One request and no second one: that would double the wait.
        assert len(fake.requests) == 1

    def test_while_a_server_hangs_it_is_not_asked(
        self, loaded: Any, faked: Engine, fake: FakeServer, configure: Callable[..., None]
    ) -> None:
        configure(COUCHDB={"RETRY_AFTER": 60.0})
        fake.default = fake.hang
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                faked(loaded[0].session_key).load()
        assert len(fake.requests) == 1

    def test_an_interrupted_request_leaves_no_reply_behind(
        self, loaded: Any, faked: Engine, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(connection: Any, size: int) -> None:
            raise GreenletTimeout

        fake.default = reply(200, loaded[1])
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "_exactly", interrupted)
            with pytest.raises(GreenletTimeout):
                faked(loaded[0].session_key).load()
        connection = fake.requests[-1].connection
        assert faked(loaded[0].session_key)["a"] == 1
        assert fake.requests[-1].connection != connection


class GreenletTimeout(BaseException):
    pass
