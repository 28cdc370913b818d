"""
The HTTP session under couchdb3: several nodes of one cluster, dressed as the part of
`httpx.Client` that couchdb3 uses.

httpx itself costs more CPU per request than all the rest of a session's load, and logs URLs, in
which the names of documents stand.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from ...secret import Secret
from .connection import FAILURES, Reply
from .node import Node

HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}

# What a proxy or a node says that is not fit to work; another node may be.
NOT_FIT = frozenset({502, 503, 504})


class HTTPResponse:
    """
    What couchdb3 looks at in a response.
    """

    __slots__ = ("_reply", "status_code")

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.status_code: int = reply.status

    @property
    def headers(self) -> Any:
        """
        The response's headers; their names are not case-sensitive.
        """
        return self._reply.headers

    @property
    def text(self) -> str:
        """
        The response's body.
        """
        return self._reply.body.decode(errors="replace")

    def json(self) -> Any:
        """
        Return what the body holds. `ValueError` if that is no JSON.
        """
        return json.loads(self._reply.body)

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


class AllNodesDown(OSError):
    """
    No node is asked now: each one failed a moment ago.
    """


class HTTPSession:
    """
    Connections to the nodes of one cluster. Safe to share between threads and across `fork`.

    base: what couchdb3's URLs begin with; each node puts its own address there.
    timeout: seconds for one request on one node.
    auth: "basic" or "cookie".
    """

    def __init__(
        self, nodes: Sequence[Node], *, base: str, timeout: float, auth: str = "basic"
    ) -> None:
        self.nodes = list(nodes)
        self._base = len(base)
        self._timeout = timeout
        self._cookie_auth = auth == "cookie"
        # Credentials among them stay wrapped until they are written to the network.
        self._headers: dict[Node, dict[str, Any]] = {
            node: HEADERS
            if self._cookie_auth or node.address.basic is None
            else {**HEADERS, "Authorization": node.address.basic}
            for node in self.nodes
        }

    def request(
        self,
        method: str,
        url: str,
        json: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
        **ignored: Any,
    ) -> HTTPResponse:
        """
        Make one request. couchdb3 also passes an authentication; that is set here once and for all.
        """
        target = url[self._base :] or "/"
        body = None if json is None else dump(json)
        timeout = timeout or self._timeout
        unfit: Reply | None = None
        failure: BaseException | None = None
        for node in self._candidates(target):
            try:
                reply = self._ask(node, method, target, headers, body, timeout)
            except FAILURES as error:
                node.note_failure(error)
                failure = error
                continue
            node.health.succeeded()
            if reply.status not in NOT_FIT:
                return HTTPResponse(reply)
            unfit = reply
        if unfit is not None:
            return HTTPResponse(unfit)
        raise failure or AllNodesDown("no node is up")

    def _candidates(self, target: str) -> Iterator[Node]:
        """
        Yield the nodes worth asking, best first.

        For one session it is the same node in every process, as long as it is up: concurrent saves
        then meet at one node, and fewer of them leave conflicts.
        """
        nodes = self.nodes
        if len(nodes) > 1:
            first = zlib.crc32(target.partition("?")[0].encode()) % len(nodes)
            nodes = nodes[first:] + nodes[:first]
        passed_by = []
        for node in nodes:
            if node.health.admits():
                yield node
            elif not node.hung:
                passed_by.append(node)
        # These cost no time to ask, and one of them may be back.
        yield from passed_by

    def _ask(
        self,
        node: Node,
        method: str,
        target: str,
        headers: dict[str, str] | None,
        body: bytes | None,
        timeout: float,
    ) -> Reply:
        sent = self._headers[node]
        if headers:
            sent = {**sent, **headers}
        target = node.address.path + target
        if not self._cookie_auth or node.address.credentials is None:
            return node.exchange(method, target, sent, body, timeout)
        cookie: Any = node.cookie or self._log_in(node, None, timeout)
        reply = node.exchange(method, target, {**sent, "Cookie": cookie}, body, timeout)
        if reply.status == 401:
            # The cookie expired.
            cookie = self._log_in(node, cookie, timeout)
            reply = node.exchange(method, target, {**sent, "Cookie": cookie}, body, timeout)
        node.take_cookie(reply)
        return reply

    def _log_in(self, node: Node, expired: Secret[str] | None, timeout: float) -> Secret[str]:
        with node.cookie_lock:
            if node.cookie and node.cookie != expired:
                # Another thread was faster.
                return node.cookie
            node.cookie = None
            login: Any = node.address.login
            reply = node.exchange("POST", f"{node.address.path}/_session", HEADERS, login, timeout)
            node.take_cookie(reply)
            # Without a cookie the request is refused, and the caller told why.
            return node.cookie or Secret("")

    def close(self) -> None:
        """
        Close all connections. The next request opens new ones.
        """
        for node in self.nodes:
            node.close()


def dump(body: Any) -> bytes:
    """
    Return JSON as small as it gets.
    """
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )
