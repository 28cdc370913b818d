"""
Who we are at a CouchDB node: a name and a password with each request, or a cookie that is renewed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from ....secret import Secret
from ...deadline import Deadline
from .address import Address
from .connection import Reply

COOKIE = "AuthSession"
# What a header may hold. A cookie that cannot be sent would never be refused, nor replaced.
SENDABLE = re.compile(r"[!-~]{1,4096}")

HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}

# Makes one request: its method, target, headers, body and deadline.
Exchange = Callable[[str, str, Mapping[str, Any], "bytes | None", Deadline], Reply]


class Busy(TimeoutError):
    """
    What this process has of something was in use by others until the deadline.
    """


class Login:
    """
    by_cookie: whether to log in and send a cookie from then on.
    """

    def __init__(self, address: Address, *, by_cookie: bool) -> None:
        self._address = address
        self._by_cookie = by_cookie and address.credentials is not None
        # Credentials stay wrapped until they are written to the network.
        self._headers: Mapping[str, Any] = (
            HEADERS
            if self._by_cookie or address.basic is None
            else {**HEADERS, "Authorization": address.basic}
        )
        self._lock = threading.Lock()
        self.cookie: Secret[str] | None = None

    def ask(
        self,
        exchange: Exchange,
        method: str,
        target: str,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        deadline: Deadline,
    ) -> Reply:
        """
        Make one request as the user of the node's address, and log in for it where that is needed.
        """
        sent = {**self._headers, **headers} if headers else self._headers
        target = self._address.path + target
        if not self._by_cookie:
            return exchange(method, target, sent, body, deadline)
        cookie = self.cookie or self._log_in(exchange, None, deadline)
        reply = exchange(method, target, {**sent, "Cookie": cookie}, body, deadline)
        if reply.status == 401:
            # The cookie expired.
            cookie = self._log_in(exchange, cookie, deadline)
            reply = exchange(method, target, {**sent, "Cookie": cookie}, body, deadline)
        self._take_cookie(reply)
        return reply

    def _log_in(
        self, exchange: Exchange, expired: Secret[str] | None, deadline: Deadline
    ) -> Secret[str]:
        lock = self._lock
        if not lock.acquire(timeout=max(deadline.left, 0.0)):
            # Whoever has it may have been interrupted before he could give it back.
            self._lock = threading.Lock()
            raise Busy("others are logging in")
        try:
            if self.cookie and self.cookie != expired:
                # Another thread was faster.
                return self.cookie
            self.cookie = None
            login: Any = self._address.login
            target = f"{self._address.path}/_session"
            self._take_cookie(exchange("POST", target, HEADERS, login, deadline))
            # Without a cookie the request is refused, and the caller told why.
            return self.cookie or Secret("")
        finally:
            lock.release()

    def _take_cookie(self, reply: Reply) -> None:
        """
        Keep the cookie that came with a reply, if one did.
        """
        for header in reply.headers.get_all("Set-Cookie", ()):
            try:
                morsel = SimpleCookie(header).get(COOKIE)
            except CookieError:
                continue
            if morsel is not None and SENDABLE.fullmatch(morsel.value):
                self.cookie = Secret(f"{COOKIE}={morsel.value}")
