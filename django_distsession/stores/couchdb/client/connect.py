"""
A couchdb3 server for one or several URLs, on our own HTTP session.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from couchdb3.sync import Server

from ....clock import SYSTEM_CLOCK, Clock
from ....observing import Tell
from ....secret import Secret
from ..http.address import Address
from ..http.node import Node
from ..http.transport import HTTPSession


def connect(
    urls: Sequence[str | Secret[str]],
    *,
    timeout: float,
    pool_size: int,
    auth: str = "basic",
    ca_file: str | None = None,
    retry_after: float = 1.0,
    tell: Tell | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Server:
    """
    Return a couchdb3 server.

    urls: the nodes of one cluster, each with its own credentials.
    auth: "basic" or "cookie". ca_file: what to check https against, instead of the system's.
    tell: for reports; None if nobody wants them.
    """
    addresses = [Address(url) for url in urls]
    tls = (
        ssl.create_default_context(cafile=ca_file)
        if any(address.scheme == "https" for address in addresses)
        else None
    )
    nodes = [
        Node(
            address,
            pool_size=pool_size,
            time_out=timeout,
            retry_after=retry_after,
            by_cookie=auth == "cookie",
            tls=tls if address.scheme == "https" else None,
            tell=tell,
            clock=clock,
        )
        for address in addresses
    ]
    # couchdb3 does not take an IPv6 address, a path or an encoded password; our nodes do.
    base = "http://couchdb"
    session = HTTPSession(nodes, base=base, timeout=timeout, tell=tell, clock=clock)
    return Server(base, auth_method="basic", session=session, timeout=timeout)
