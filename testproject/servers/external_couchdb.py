"""
A CouchDB that somebody else runs, and that is not ours to break.
"""

from __future__ import annotations

from typing import NoReturn
from urllib.parse import urlsplit, urlunsplit

from testproject.servers.base import ServerUnavailable
from testproject.servers.couchdb_api import CouchDBServer, welcome


class ExternalCouchDB(CouchDBServer):
    can_fail = False

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        return self._url

    @property
    def public_url(self) -> str:
        parts = urlsplit(self._url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    def start(self) -> None:
        if welcome(self.public_url) is None:
            raise ServerUnavailable(
                f"No CouchDB answers at {self.public_url}, which DISTSESSION_TEST_COUCHDB_URL "
                "names. Start it, or unset the variable to have one started here."
            )

    def stop(self) -> None:
        self._refuse("stopped")

    def pause(self) -> None:
        self._refuse("paused")

    def resume(self) -> None:
        self._refuse("resumed")

    def kill(self) -> None:
        self._refuse("killed")

    def close(self) -> None:
        """
        It goes on; only our use of it ends.
        """

    def _refuse(self, what: str) -> NoReturn:
        raise RuntimeError(f"The CouchDB at {self.public_url} is not ours and cannot be {what}.")
