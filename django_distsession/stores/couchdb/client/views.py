"""
Reading views, whose design documents may be replaced meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from ...deadline import Deadline
from .answers import count_of, groups_of, nothing_of, object_of, rows_of
from .errors import DesignMissing, DesignReplaced, DocumentMissing, IndexBehind
from .requester import Requester

VIEW_KEYS = frozenset({"key", "keys", "startkey", "endkey"})
# How often a view is read whose design document is being replaced.
MAX_TRIES = 5
# How often a view is read whose index is so far behind that the server gives up waiting: each time
# it is further, by what CouchDB does in a minute.
MAX_WAITS = 60

T = TypeVar("T")


class ViewReader(Requester):
    """
    What we ask CouchDB about views.
    """

    def view(
        self, design: str, view: str, deadline: Deadline | None = None, **query: Any
    ) -> list[dict[str, Any]]:
        """
        Return the rows of a view, whose index may have to catch up first. Keys in `query` are
        Python values.
        """
        read = groups_of if query.get("group") else rows_of
        return self._read_view(read, design, view, deadline, query)

    def count(self, design: str, view: str, **query: Any) -> int:
        """
        Return what a view that counts its rows comes to.
        """
        return self._read_view(count_of, design, view, None, query)

    def _read_view(
        self,
        read: Callable[[Any], T],
        design: str,
        view: str,
        deadline: Deadline | None,
        query: dict[str, Any],
    ) -> T:
        encoded = {
            name: json.dumps(value) if name in VIEW_KEYS else value for name, value in query.items()
        }
        path = f"_design/{quote(design, safe='')}/_view/{quote(view, safe='')}"
        whole = partial(self._whole, read)
        tries, waits = MAX_TRIES, MAX_WAITS
        while True:
            try:
                return self.request(
                    "GET", path, whole, query=encoded, deadline=deadline, patient=True
                )
            except DesignReplaced:
                tries -= 1
                if not tries:
                    raise
            except IndexBehind:
                waits -= 1
                if not waits:
                    raise
            except DocumentMissing as error:
                raise DesignMissing(f"{design}/{view}: {error}") from error

    def _whole(self, read: Callable[[Any], T], reply: Any) -> T:
        try:
            return read(reply)
        except ValueError as error:
            # What CouchDB has sent of an answer by the time of an error, it cannot take back.
            raise DesignReplaced(f"An answer of CouchDB at {self.place} broke off.") from error

    def view_info(self, design: str) -> dict[str, Any]:
        """
        Return the state of a design document's index.
        """
        try:
            return self.request("GET", f"_design/{quote(design, safe='')}/_info", object_of)
        except DocumentMissing as error:
            raise DesignMissing(f"{design}: {error}") from error

    def view_cleanup(self) -> None:
        """
        Remove the indexes that no design document has any longer.
        """
        self.request("POST", "_view_cleanup", nothing_of, body={}, patient=True)
