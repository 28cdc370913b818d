"""
Logins whose cookie is sent instead of a password.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from django_distsession.backends.couchdb import SessionStore
from django_distsession.exceptions import StoreMisconfigured
from django_distsession.secret import Secret
from tests.stores.couchdb.conftest import contents, stored
from tests.stores.couchdb.fake import FakeServer, Request, reply

Engine = type[SessionStore]

MISSING = reply(404, {"error": "not_found", "reason": "missing"})
KEY = "a" * 32


def load(sessions: Engine) -> dict[str, Any]:
    return sessions(KEY).load()


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
