"""
Host names that one process finds elsewhere than others do.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from testproject.servers.process import LOOPBACK

_getaddrinfo = socket.getaddrinfo


def resolve(ports: Mapping[str, int]) -> None:
    """
    Find these hosts at these ports of this machine, whatever port is asked for.
    """

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **keywords: Any) -> Any:
        if host in ports:
            host, port = LOOPBACK, ports[host]
        return _getaddrinfo(host, port, *arguments, **keywords)

    socket.getaddrinfo = getaddrinfo
