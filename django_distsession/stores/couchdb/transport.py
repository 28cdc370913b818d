"""
The HTTP session under couchdb3: httpcore's connection pool, dressed as the part of `httpx.Client`
that couchdb3 uses.

httpx itself costs more CPU per request than all the rest of a session's load, and logs URLs, in
which the names of documents stand.
"""

from __future__ import annotations

import base64
import json
import os
import weakref
from typing import Any

import httpcore
import httpx

# Servers drop idle connections sooner or later; httpcore notices that before it reuses one.
KEEPALIVE_EXPIRY = 60.0

_sessions: weakref.WeakSet[HTTPSession] = weakref.WeakSet()


class HTTPResponse:
    """
    What couchdb3 looks at in a response.
    """

    __slots__ = ("_response", "status_code")

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response
        self.status_code: int = response.status

    @property
    def headers(self) -> httpx.Headers:
        """
        The response's headers; their names are not case-sensitive.
        """
        return httpx.Headers(self._response.headers)

    @property
    def text(self) -> str:
        """
        The response's body.
        """
        return self._response.content.decode(errors="replace")

    def json(self) -> Any:
        """
        Return what the body holds. `ValueError` if that is no JSON.
        """
        return json.loads(self._response.content)

    def raise_for_status(self) -> None:
        """
        Raise `httpx.HTTPStatusError` for anything but a success or 304, as couchdb3 expects.
        """
        if self.status_code >= 300 and self.status_code != 304:
            # Without the URL, in which a session's id stands.
            request = httpx.Request("GET", "http://couchdb/")
            response = httpx.Response(self.status_code, request=request)
            raise httpx.HTTPStatusError(
                f"HTTP status {self.status_code}", request=request, response=response
            )


class HTTPSession:
    """
    A pool of connections to one server. Safe to share between threads and across `fork`.

    timeout: seconds for each of connecting, writing, reading, and waiting for a connection.
    """

    def __init__(
        self,
        *,
        timeout: float,
        pool_size: int,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        self._pool_size = pool_size
        phases = ("connect", "read", "write", "pool")
        self._extensions = {"timeout": dict.fromkeys(phases, timeout)}
        self._headers = [(b"Accept", b"application/json"), (b"Content-Type", b"application/json")]
        if credentials:
            encoded = base64.b64encode(":".join(credentials).encode())
            self._headers.append((b"Authorization", b"Basic " + encoded))
        self._pool = self._new_pool()
        _sessions.add(self)

    def _new_pool(self) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            max_connections=self._pool_size,
            max_keepalive_connections=self._pool_size,
            keepalive_expiry=KEEPALIVE_EXPIRY,
        )

    def request(
        self,
        method: str,
        url: str,
        json: Any = None,
        headers: dict[str, str] | None = None,
        **ignored: Any,
    ) -> HTTPResponse:
        """
        Make one request. couchdb3 also passes a time-out and an authentication; both are set here
        once and for all.
        """
        sent = self._headers
        if headers:
            sent = [*sent, *((k.encode(), v.encode()) for k, v in headers.items())]
        content = None if json is None else dump(json)
        return HTTPResponse(
            self._pool.request(
                method, url, headers=sent, content=content, extensions=self._extensions
            )
        )

    def close(self) -> None:
        """
        Close all connections. The next request opens new ones.
        """
        self._pool.close()

    def after_fork(self) -> None:
        """
        Start anew in a child process: two processes must not read from one socket.
        """
        self._pool.close()
        self._pool = self._new_pool()


def dump(body: Any) -> bytes:
    """
    Return JSON as small as it gets.
    """
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def _after_fork_in_child() -> None:
    for session in list(_sessions):
        session.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
