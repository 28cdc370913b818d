"""
One state of one session, as every store holds it.
"""

from __future__ import annotations

from typing import NamedTuple

from ..stamps import Stamp
from ..state import ended_version


class Record(NamedTuple):
    """
    What a store holds of a session. An ended session's record is its tombstone.

    version: names the state; equal versions mean equal states.
    payload: the encoded state; empty for a tombstone.
    user: the id of the user who is logged in, as text.
    created_at, expires_at: seconds since the epoch.
    retain_until: where saves shortened the lifetime, until when a copy that some server slept with
        may live. A store that forgets by itself holds this record as long.

    The rest is what a copy in a cache remembers of the durable store behind it.
    source_rev: the durable store's token for the record that this was copied from; "" if none.
    validated_at: when the durable store last confirmed it, in seconds since the epoch.
    unsynced: whether the durable store has yet to be told of it.
    """

    version: Stamp
    expires_at: int
    created_at: int
    payload: bytes = b""
    user: str | None = None
    ended: bool = False
    source_rev: str = ""
    validated_at: int = 0
    unsynced: bool = False
    retain_until: int = 0

    @property
    def retention_deadline(self) -> int:
        """
        When no copy of the session lives any more, whichever save wrote it.
        """
        return max(self.expires_at, self.retain_until)

    def retained_until(self, until: int) -> Record:
        """
        Return this record, to be held at least until then.
        """
        return self._replace(retain_until=until) if until > self.retention_deadline else self

    def is_live(self, now: float) -> bool:
        """
        Whether it has neither ended nor expired.
        """
        return not self.ended and self.expires_at > now

    @classmethod
    def tombstone(cls, expires_at: int) -> Record:
        """
        Return the record that an ended session leaves behind until `expires_at`.
        """
        return cls(ended_version(expires_at), expires_at, expires_at, ended=True)
