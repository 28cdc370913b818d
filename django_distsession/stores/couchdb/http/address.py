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
PORTS = {"http": 80, "https": 443}


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
        self.port: int = parts.port or PORTS.get(self.scheme, 80)
        self.path = parts.path
        # Name and password.
        self.credentials: Secret[tuple[str, str]] | None = wrapped(url).map(_credentials)
        if not self.credentials.reveal()[0]:
            self.credentials = None

    @property
    def user(self) -> str | None:
        return self.credentials.reveal()[0] if self.credentials else None

    @property
    def host_header(self) -> str:
        """
        The value of a Host header. `UnicodeError` if there is no such name.
        """
        host = self.host if self.host.isascii() else self.host.encode("idna").decode()
        if ":" in host:
            # What comes after % tells this machine alone by which interface to get there.
            host = f"[{host.partition('%')[0]}]"
        return host if self.port == PORTS.get(self.scheme) else f"{host}:{self.port}"

    # Views, of which nothing shows what they are views of.

    @property
    def basic(self) -> memoryview:
        """
        An Authorization header; nothing where there are no credentials.
        """
        return memoryview(self.credentials.map(_basic).reveal() if self.credentials else b"")

    @property
    def login(self) -> memoryview:
        """
        The body of a request to `_session`.
        """
        return memoryview((self.credentials or Secret(("", ""))).map(_login).reveal())


# Each of these holds a password in its variables, and none can fail.


def _credentials(url: str) -> tuple[str, str]:
    name, _, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    return unquote(name), unquote(password)


def _basic(credentials: tuple[str, str]) -> bytes:
    encoded = base64.b64encode(":".join(credentials).encode())
    return b"Authorization: Basic " + encoded + b"\r\n"


def _login(credentials: tuple[str, str]) -> bytes:
    return json.dumps(dict(zip(("name", "password"), credentials, strict=True))).encode()
