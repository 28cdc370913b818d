"""
What the kinds of CouchDB servers have in common.
"""

from __future__ import annotations

import http.client
import json
import secrets
from abc import abstractmethod
from typing import Any
from urllib.parse import urlsplit

from testproject.servers.base import Server
from testproject.servers.process import ServerProcess

ADMIN = "admin"
ANSWER_TIMEOUT = 5.0


class CouchDBServer(Server):
    """
    A server with CouchDB's HTTP API.
    """

    can_fail: bool
    """
    Whether it can be stopped, paused, killed and restarted.
    """

    @property
    @abstractmethod
    def url(self) -> str:
        """
        With the credentials of a server admin.
        """

    @property
    @abstractmethod
    def public_url(self) -> str:
        """
        Without credentials: fit to be shown.
        """


def welcome(public_url: str) -> dict[str, Any] | None:
    """
    What the server says of itself, or None where no CouchDB answers.
    """
    parts = urlsplit(public_url)
    assert parts.hostname
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=ANSWER_TIMEOUT)
    try:
        connection.request("GET", parts.path or "/", headers={"Connection": "close"})
        said = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return said if isinstance(said, dict) else None


class LocalCouchDB(ServerProcess, CouchDBServer):
    can_fail = True

    def __init__(self, port: int | None = None) -> None:
        super().__init__(port)
        self.password = secrets.token_hex(16)
        self.uuid = secrets.token_hex(16)

    @property
    def url(self) -> str:
        return f"http://{ADMIN}:{self.password}@{self.address}"

    @property
    def public_url(self) -> str:
        return f"http://{self.address}"

    def answers(self) -> bool:
        said = welcome(self.public_url)
        return said is not None and said.get("uuid") == self.uuid
