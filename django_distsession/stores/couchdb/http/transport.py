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

from ...deadline import Deadline
from .connection import FAILURES, Reply
from .login import Busy
from .node import NOT_FIT, Node, NodeNotFit


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
    timeout: seconds for one request, whichever nodes it goes to.
    """

    def __init__(self, nodes: Sequence[Node], *, base: str, timeout: float) -> None:
        self.nodes = list(nodes)
        self._base = len(base)
        self._timeout = timeout

    def request(
        self,
        method: str,
        url: str,
        json: Any = None,
        headers: dict[str, str] | None = None,
        timeout: Deadline | float | None = None,
        patient: bool = False,
        **ignored: Any,
    ) -> HTTPResponse:
        """
        Make one request. couchdb3 also passes an authentication; that is set here once and for all.

        timeout: when it is to be over, or in how many seconds.
        patient: it asks for work that may take long, so its time-out says nothing of a node. It is
        made even if all nodes are believed down.
        """
        target = url[self._base :] or "/"
        body = None if json is None else dump(json)
        if not isinstance(timeout, Deadline):
            timeout = Deadline(timeout or self._timeout)
        unfit: Reply | None = None
        failure: BaseException | None = None
        for node, deadline in self._turns(target, timeout, patient):
            given = deadline.left
            try:
                reply = node.request(method, target, headers, body, deadline)
            except FAILURES as error:
                failure = error
                if not isinstance(error, TimeoutError) or (
                    given >= self._fair_share and not patient and not isinstance(error, Busy)
                ):
                    node.failed(error)
                continue
            if reply.status not in NOT_FIT:
                node.succeeded()
                return HTTPResponse(reply)
            node.failed(NodeNotFit(f"HTTP status {reply.status}"))
            unfit = reply
        if unfit is not None:
            return HTTPResponse(unfit)
        raise failure or AllNodesDown("no node is up")

    @property
    def _fair_share(self) -> float:
        """
        How many seconds a node has to be given before it is blamed for a time-out: an operation of
        the store may have used up its time with other requests.
        """
        return self._timeout / len(self.nodes) / 2

    def _turns(
        self, target: str, deadline: Deadline, patient: bool
    ) -> Iterator[tuple[Node, Deadline]]:
        """
        Yield the nodes worth asking, best first, each with its share of the time.

        For one session it is the same node in every process, as long as it is up: concurrent saves
        then meet at one node, and fewer of them leave conflicts.
        """
        nodes = self.nodes
        if len(nodes) > 1:
            first = zlib.crc32(target.partition("?")[0].encode()) % len(nodes)
            nodes = nodes[first:] + nodes[:first]
        up = [node for node in nodes if node.breaker.allows()]
        for number, node in enumerate(up):
            yield node, deadline.share(len(up) - number)
        down = [node for node in nodes if node not in up]
        # Those that fail at once cost no time to ask, and one of them may be back.
        for node in sorted(down, key=lambda node: node.hung):
            if not node.hung or patient or node.is_back_soon(deadline):
                yield node, deadline

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
