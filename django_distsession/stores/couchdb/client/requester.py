"""
Making couchdb3's requests: with deadlines that hold, for a database of any name, and with logins
that are renewed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from couchdb3.exceptions import UnauthorizedError
from couchdb3.sync import Database, Server

from ....clock import SYSTEM_CLOCK, Clock
from ....secret import without_frames
from ... import forking
from ...deadline import Deadline
from ..http.login import COOKIE, Busy
from ..http.node import Node
from ..http.transport import HTTPSession
from .errors import SERVER_ERRORS, map_error

# Seconds for what may take long, such as a view whose index has to catch up first. Commands wait.
PATIENCE = 600.0

# A document that no session has, which a node that is down is asked for.
PROBE = "distsession-probe"

T = TypeVar("T")


class Requester:
    """
    One database on one server or cluster.

    place: its address, without credentials. timeout: seconds for a request.
    """

    def __init__(self, server: Server, database: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.name = database
        self.timeout: float = server.timeout
        self._server = server
        self._clock = clock
        # Of a client of one's own nothing is known.
        self._session = server.session if isinstance(server.session, HTTPSession) else None
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
        for node in self.nodes:
            node.prober.path = f"/{quoted}/{PROBE}"
        self.place = f"{self.nodes[0].name}/{quoted}" if self.nodes else str(self._database.url)
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Let no login that another process is making be waited for.
        """
        self._login = threading.Lock()

    @property
    def nodes(self) -> list[Node]:
        """
        The nodes of the cluster; none of a client of one's own.
        """
        return self._session.nodes if self._session else []

    def share_health(self, other: Requester) -> None:
        """
        Go by what `other` knows of the servers that both talk to.
        """
        known = {node.name: node.health for node in other.nodes}
        for node in self.nodes:
            node.health = known.get(node.name, node.health)

    def deadline(self) -> Deadline:
        """
        Return the deadline of an operation that begins now.
        """
        return Deadline(self.timeout, self._clock.monotonic)

    def is_down(self) -> bool:
        nodes = self.nodes
        return bool(nodes) and not any(node.health.breaker.allows() for node in nodes)

    def status(self) -> list[dict[str, Any]]:
        return [
            {"store": "couchdb", "server": node.name, **asdict(node.health.breaker.status())}
            for node in self.nodes
        ]

    def close(self) -> None:
        """
        Close all connections, unless somebody else made them.
        """
        if self._session:
            self._session.close()

    def request(
        self,
        method: str,
        resource: str | None,
        read: Callable[[Any], T],
        *,
        body: Any = None,
        query: Any = None,
        headers: dict[str, str] | None = None,
        deadline: Deadline | None = None,
        patient: bool = False,
        root: str | None = None,
        may_conflict: bool = False,
    ) -> T:
        """
        Make a request, and return what `read` finds in the response, which is as httpx has them.
        Whatever goes wrong is one of the errors in `errors`.

        resource: a path within the database, escaped. root: another one than the database.
        deadline: when it is to be over; by default that of an operation of its own.
        patient: whether it may take long.
        may_conflict: whether it names a revision that others may have replaced.
        """
        if deadline is None:
            deadline = Deadline(PATIENCE if patient else self.timeout, self._clock.monotonic)
        options = {
            "method": method,
            "resource": resource,
            "body": body,
            "query_kwargs": query,
            "root": root,
            "headers": headers,
        }
        try:
            if self._session:
                # couchdb3 hands the time-out on as it is.
                reply = self._database._request(timeout=deadline, patient=patient, **options)
            else:
                reply = self._request_by_httpx(options, deadline)
            return read(reply)
        except SERVER_ERRORS as error:
            raise map_error(error, self.place, body, may_conflict=may_conflict) from error

    def _request_by_httpx(self, options: dict[str, Any], deadline: Deadline) -> Any:
        def ask() -> Any:
            # Where couchdb3 or httpx logs in, user and password stand in their variables. The
            # time-out has to be given with each request: couchdb3's GET and DELETE ignore the one
            # it was constructed with.
            call = partial(self._database._request, timeout=deadline.require(), **options)
            return without_frames(call)

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
