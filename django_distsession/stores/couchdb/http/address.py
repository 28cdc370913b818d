"""
Where a CouchDB node is, and who we are there.
"""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import unquote, urlsplit

from ....secret import Secret, wrapped

# What stands before the host. Of several @, the last one ends it.
USER_INFO = re.compile(r"(?<=//)[^/?#]*@")


class Address:
    """
    A node's URL, taken apart. It may hold credentials, an IPv6 address and a path.
    """

    def __init__(self, url: str | Secret[str]) -> None:
        # Fit for logs and error messages, and for variables.
        self.public = USER_INFO.sub("", wrapped(url).reveal(), count=1).rstrip("/")
        parts = urlsplit(self.public)
        self.scheme = parts.scheme
        self.host = parts.hostname or ""
        self.port = parts.port
        self.path = parts.path
        # Name and password.
        self.credentials: Secret[tuple[str, str]] | None = wrapped(url).map(_credentials)
        if not self.credentials.reveal()[0]:
            self.credentials = None

    @property
    def user(self) -> str | None:
        """
        The user's name, if there is one.
        """
        return self.credentials.reveal()[0] if self.credentials else None

    @property
    def basic(self) -> Secret[str] | None:
        """
        The value of an Authorization header, if there are credentials.
        """
        return self.credentials.map(_basic) if self.credentials else None

    @property
    def login(self) -> memoryview:
        """
        The body of a request to `_session`. A view shows nothing of what it is a view of.
        """
        return memoryview((self.credentials or Secret(("", ""))).map(_login).reveal())


# Each of these holds a password in its variables, and none can fail.


def _credentials(url: str) -> tuple[str, str]:
    name, _, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    return unquote(name), unquote(password)


def _basic(credentials: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(credentials).encode()).decode()


def _login(credentials: tuple[str, str]) -> bytes:
    return json.dumps(dict(zip(("name", "password"), credentials, strict=True))).encode()
