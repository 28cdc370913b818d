"""
The HTTP session under couchdb3: several nodes of one cluster, dressed as the part of
`httpx.Client` that couchdb3 uses.

httpx itself costs more CPU per request than all the rest of a session's load, and logs URLs, in
which the names of documents stand.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ....clock import SYSTEM_CLOCK, Clock
from ....observing import ExchangeEnded, Tell
from ...deadline import Deadline
from .connection import FAILURES, Reply
from .login import Busy
from .node import NOT_FIT, Node, NodeNotFit


class AllNodesDown(OSError):
    """
    No node is asked now: each one failed a moment ago.
    """


class HTTPSession:
    """
    Connections to the nodes of one cluster. Safe to share between threads and across `fork`.

    base: what couchdb3's URLs begin with; each node puts its own address there.
    timeout: seconds for one request, whichever nodes it goes to.
    tell: for reports; None if nobody wants them.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        base: str,
        timeout: float,
        tell: Tell | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._tell = tell
        self.nodes = list(nodes)
        self._base = len(base)
        self._timeout = timeout
        # How many seconds a node has to be given before it is blamed for a time-out: an operation
        # of the store may have used up its time with other requests.
        self._fair_share = timeout / len(self.nodes) / 2
        self._clock = clock

    def request(
        self,
        method: str,
        url: str,
        json: Any = None,
        headers: dict[str, str] | None = None,
        timeout: Deadline | float | None = None,
        patient: bool = False,
        **ignored: Any,
    ) -> Reply:
        """
        Make one request. couchdb3 also passes an authentication; that is set here once and for all.

        timeout: when it is to be over, or in how many seconds.
        patient: it asks for work that may take long, so its time-out says nothing of a node. It is
        made even if all nodes are believed down.
        """
        target = url[self._base :] or "/"
        body = None if json is None else dump(json)
        if not isinstance(timeout, Deadline):
            timeout = Deadline(timeout or self._timeout, self._clock.monotonic)
        unfit: Reply | None = None
        failure: BaseException | None = None
        alone = self.nodes[0]
        turns: Iterable[tuple[Node, Deadline]]
        if len(self.nodes) == 1 and alone.health.breaker.is_up:
            turns = ((alone, timeout),)
        else:
            turns = self._turns(target, timeout, patient)
        for node, deadline in turns:
            begun = self._clock.monotonic()
            try:
                reply = node.request(method, target, headers, body, deadline)
            except FAILURES as error:
                failure = error
                self._report(node, method, begun, body, error)
                if self._is_to_blame(error, 0.0 if patient else deadline.at - begun):
                    node.health.failed(error)
                continue
            if self._tell is not None:
                self._report(node, method, begun, body, reply)
            if reply.status_code not in NOT_FIT:
                if not node.health.breaker.is_up:
                    node.health.succeeded()
                return reply
            node.health.failed(NodeNotFit(f"HTTP status {reply.status_code}"))
            unfit = reply
        if unfit is not None:
            return unfit
        raise failure or AllNodesDown("no node is up")

    def _report(
        self, node: Node, method: str, begun: float, body: bytes | None, came: Reply | Exception
    ) -> None:
        if self._tell is None:
            return
        seconds, sent = self._clock.monotonic() - begun, len(body or b"")
        outcome, received, error = "ok", 0, None
        if isinstance(came, Exception):
            outcome, error = "no answer", type(came).__name__
        else:
            received = len(came.content)
            if came.status_code in NOT_FIT:
                outcome, error = "refused", str(came.status_code)
        self._tell(
            ExchangeEnded("couchdb", node.name, method, outcome, seconds, sent, received, error)
        )

    def _is_to_blame(self, error: BaseException, given: float) -> bool:
        """
        Whether an error that came of so many seconds says something of a node.
        """
        if isinstance(error, Busy):
            return False
        return not isinstance(error, TimeoutError) or given >= self._fair_share

    def _turns(
        self, target: str, deadline: Deadline, patient: bool
    ) -> Iterator[tuple[Node, Deadline]]:
        """
        Yield the nodes worth asking, best first, each with its share of the time.

        For one session it is the same node in every process, as long as it is up: concurrent saves
        then meet at one node, and fewer of them leave conflicts.
        """
        first = zlib.crc32(target.partition("?")[0].encode()) % len(self.nodes)
        nodes = self.nodes[first:] + self.nodes[:first]
        up = [node for node in nodes if node.health.breaker.allows()]
        for number, node in enumerate(up):
            yield node, deadline.share(len(up) - number)
        down = [node for node in nodes if node not in up]
        # Those that fail at once cost no time to ask, and one of them may be back.
        for node in sorted(down, key=lambda node: node.health.breaker.is_hung):
            breaker = node.health.breaker
            if not breaker.is_hung or patient or breaker.await_answer(deadline):
                yield node, deadline

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def dump(body: Any) -> bytes:
    """
    Return JSON as small as it gets.
    """
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )
