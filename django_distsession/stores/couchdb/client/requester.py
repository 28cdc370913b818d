"""
Making couchdb3's requests: with deadlines that hold, for a database of any name, and with logins
that are renewed.
"""

from __future__ import annotations

import threading
from dataclasses import asdict
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx
from couchdb3.exceptions import UnauthorizedError
from couchdb3.sync import Database, Server

from ....secret import without_frames
from ... import forking
from ...deadline import Deadline
from ..http.login import COOKIE, Busy
from ..http.transport import HTTPSession

# Seconds for what may take long, such as a view whose index has to catch up first. Commands wait.
PATIENCE = 600.0

# A document that no session has, which a node that is down is asked for.
PROBE = "distsession-probe"


class Requester:
    """
    One database on one server or cluster.

    place: its address, without credentials. timeout: seconds for a request.
    """

    def __init__(self, server: Server, database: str) -> None:
        self.name = database
        self.timeout: float = server.timeout
        self._server = server
        has_credentials = bool(server._user and server._password)
        self._renews_cookie = server.auth_method == "cookie" and has_credentials
        self._database = Database(
            database,
            url="http://localhost",
            # Without credentials couchdb3 would log in as null.
            auth_method=server.auth_method if has_credentials else "basic",
            session=server.session,
            timeout=server.timeout,
        )
        # Not as arguments, which a report of an error would show.
        for attribute in ("scheme", "host", "port", "_user", "_password", "_auth"):
            setattr(self._database, attribute, getattr(server, attribute))
        if ":" in str(server.host) and not str(server.host).startswith("["):
            self._database.host = f"[{server.host}]"
        quoted = quote(database, safe="")
        self._database.root = f"{server.root}/{quoted}" if server.root else quoted
        if not has_credentials and isinstance(server.session, httpx.Client):
            # couchdb3 would switch off the authentication that the session brings.
            self._database._auth = httpx.USE_CLIENT_DEFAULT
        if isinstance(server.session, HTTPSession):
            self.place = f"{server.session.nodes[0].name}/{quoted}"
            for node in server.session.nodes:
                node.probed = f"/{quoted}/{PROBE}"
        else:
            self.place = str(self._database.url)
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Let no login that another process is making be waited for.
        """
        self._login = threading.Lock()

    def deadline(self) -> Deadline:
        """
        Return the deadline of an operation that begins now.
        """
        return Deadline(self.timeout)

    def is_down(self) -> bool:
        """
        Whether all nodes are believed down. Of a client of one's own nothing is known.
        """
        session = self._server.session
        return isinstance(session, HTTPSession) and not any(
            node.breaker.allows() for node in session.nodes
        )

    def status(self) -> list[dict[str, Any]]:
        """
        Tell how each node is doing, as this process sees it; nothing of a client of one's own.
        """
        if not isinstance(self._server.session, HTTPSession):
            return []
        return [
            {"store": "couchdb", "server": node.name, **asdict(node.breaker.status())}
            for node in self._server.session.nodes
        ]

    def close(self) -> None:
        """
        Close all connections, unless somebody else made them.
        """
        if isinstance(self._server.session, HTTPSession):
            self._server.session.close()

    def request(
        self,
        method: str,
        resource: str | None,
        *,
        body: Any = None,
        query: Any = None,
        headers: dict[str, str] | None = None,
        deadline: Deadline | None = None,
        patient: bool = False,
        root: str | None = None,
    ) -> Any:
        """
        Make a request, and return a response as httpx has them.

        resource: a path within the database, escaped. root: another one than the database.
        deadline: when it is to be over; by default that of an operation of its own.
        patient: whether it may take long.
        """
        deadline = deadline or Deadline(PATIENCE if patient else self.timeout)
        call = partial(
            self._database._request,
            method=method,
            resource=resource,
            body=body,
            query_kwargs=query,
            root=root,
            **({"headers": headers} if headers else {}),
        )
        if isinstance(self._server.session, HTTPSession):
            # couchdb3 hands the time-out on as it is.
            return call(timeout=deadline, patient=patient)
        return self._request_by_httpx(call, deadline)

    def _request_by_httpx(self, call: Any, deadline: Deadline) -> Any:
        def ask() -> Any:
            # Where couchdb3 or httpx logs in, user and password stand in their variables. The
            # time-out has to be given with each request: couchdb3's GET and DELETE ignore the one
            # it was constructed with.
            return without_frames(partial(call, timeout=deadline.require()))

        if not self._renews_cookie:
            return ask()
        cookie = self._cookie()
        try:
            return ask()
        except UnauthorizedError:
            self._log_in_again(cookie, deadline)
            return ask()

    def _cookie(self) -> str | None:
        cookies = self._server.session.cookies.jar
        return next((cookie.value for cookie in cookies if cookie.name == COOKIE), None)

    def _log_in_again(self, expired: str | None, deadline: Deadline) -> None:
        lock = self._login
        if not lock.acquire(timeout=max(deadline.left, 0.0)):
            # Whoever has it may have been interrupted before he could give it back.
            self._login = threading.Lock()
            raise Busy("others are logging in")
        try:
            # Unless another thread was faster.
            if self._cookie() == expired:
                self._server.session.cookies.clear()
                without_frames(self._database._renew_auth_token)
        finally:
            lock.release()
