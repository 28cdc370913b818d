"""
Where the parallel page's requests leave their marks: one session key per request.
"""

from __future__ import annotations

from django.contrib.sessions.backends.base import SessionBase

OPENED = "parallel"
PREFIX = "parallel:"


class Noticeboard:
    def __init__(self, session: SessionBase) -> None:
        self._session = session

    def open(self) -> None:
        """
        Store a session, with an empty board, before the parallel requests start.

        A browser without a session would be given a new one by each of them.
        """
        self.clear()
        self._session[OPENED] = True

    def mark(self, number: int) -> None:
        self._session[f"{PREFIX}{number:02}"] = True

    def marks(self) -> list[int]:
        keys = self._session.keys()
        return sorted(int(key.removeprefix(PREFIX)) for key in keys if key.startswith(PREFIX))

    def clear(self) -> None:
        for number in self.marks():
            del self._session[f"{PREFIX}{number:02}"]
        self._session.pop(OPENED, None)
