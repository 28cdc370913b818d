"""
A login at a CouchDB node whose cookie is sent instead of a password, and renewed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie

from ....secret import Secret
from ... import forking
from ...deadline import Deadline
from .address import Address
from .connection import Reply

COOKIE = "AuthSession"
# What a header may hold. A cookie that cannot be sent would never be refused, nor replaced.
SENDABLE = re.compile(r"[!-~]{1,4096}")

NOBODY = memoryview(b"")

# Makes one request: its method, target, headers, body and deadline, and the header that says who
# makes it.
Exchange = Callable[
    [str, str, "Mapping[str, str] | None", "bytes | memoryview | None", Deadline, memoryview], Reply
]


class Busy(TimeoutError):
    """
    What this process has of something was in use by others until the deadline.
    """


class CookieLogin:
    """
    For one node, and all threads.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Let no login that another process is making be waited for.
        """
        self._lock = threading.Lock()
        self.cookie: Secret[str] | None = None

    def ask(
        self,
        exchange: Exchange,
        method: str,
        target: str,
        headers: Mapping[str, str] | None,
        body: bytes | memoryview | None,
        deadline: Deadline,
    ) -> Reply:
        """
        Make one request as the user of the node's address, and log in for it where that is needed.
        """
        cookie = self.cookie or self._log_in(exchange, None, deadline)
        reply = exchange(method, target, headers, body, deadline, _header(cookie))
        if reply.status_code == 401:
            # The cookie expired.
            cookie = self._log_in(exchange, cookie, deadline)
            reply = exchange(method, target, headers, body, deadline, _header(cookie))
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
            self._take_cookie(
                exchange("POST", "/_session", None, self._address.login, deadline, NOBODY)
            )
            # Without a cookie the request is refused, and the caller told why.
            return self.cookie or Secret("")
        finally:
            lock.release()

    def _take_cookie(self, reply: Reply) -> None:
        """
        Keep the cookie that came with a reply, if one did.
        """
        for header in reply.headers.get("set-cookie", ()):
            try:
                morsel = SimpleCookie(header).get(COOKIE)
            except CookieError:
                continue
            if morsel is not None and SENDABLE.fullmatch(morsel.value):
                self.cookie = Secret(f"{COOKIE}={morsel.value}")


def _header(cookie: Secret[str]) -> memoryview:
    return memoryview(f"Cookie: {cookie.reveal()}\r\n".encode())
