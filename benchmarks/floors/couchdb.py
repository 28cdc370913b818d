"""
CouchDB by hand: `http.client`, on documents that our own engine made.
"""

from __future__ import annotations

import http.client
import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from benchmarks.engines.sessions import new_sessions
from benchmarks.operations import Operation, Operations


class BareCouchDB:
    """
    One connection that is kept.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._connection = kind(parts.hostname, parts.port)
        self._root = parts.path.rstrip("/")
        self._headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if parts.username:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            encoded = b64encode(credentials.encode()).decode()
            self._headers["Authorization"] = f"Basic {encoded}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def get(self, path: str) -> dict[str, Any]:
        return self._request("GET", path, (200,))

    def wait_for_index(self, view: str) -> None:
        """
        Query a view until its index is up to date: CouchDB gives up after 60 seconds, and goes on
        with the index.
        """
        while True:
            try:
                self.get(f"{view}?reduce=false&limit=1")
            except RuntimeError as error:
                if "reasonable amount of time" not in str(error):
                    raise
            else:
                return

    def put(self, path: str, document: object) -> None:
        body = json.dumps(document, separators=(",", ":")).encode()
        self._request("PUT", path, (200, 201, 202), body)

    def post(self, path: str, body: object) -> None:
        self._request("POST", path, (200, 201, 202), json.dumps(body).encode())

    def can_purge(self, database: str) -> bool:
        try:
            self.post(f"/{database}/_purge", {})
        except RuntimeError:
            return False
        return True

    def delete(self, path: str) -> None:
        """
        Delete a database; no error if it was never made.
        """
        self._request("DELETE", path, (200, 202, 404))

    def _request(
        self, method: str, path: str, good: tuple[int, ...], body: bytes | None = None
    ) -> dict[str, Any]:
        self._connection.request(method, self._root + path, body, self._headers)
        response = self._connection.getresponse()
        content = response.read()
        if response.status not in good:
            raise RuntimeError(f"CouchDB answered {method} with {response.status}: {content!r}")
        answer: dict[str, Any] = json.loads(content)
        return answer


@contextmanager
def bare_couchdb(url: str, database: str) -> Iterator[Operations]:
    from django_distsession.backends.couchdb import SessionStore

    with BareCouchDB(url) as couchdb:
        ids = [SessionStore.storage_id(key) for key in new_sessions(SessionStore)]
        paths = cycle([f"/{database}/{storage_id}" for storage_id in ids])

        def load() -> None:
            couchdb.get(next(paths))

        def load_and_save() -> None:
            path = next(paths)
            document = couchdb.get(path)
            document["updated_at"] += 1
            couchdb.put(path, document)

        yield {Operation.LOAD: load, Operation.SAVE: load_and_save}
