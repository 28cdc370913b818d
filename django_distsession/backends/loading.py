"""
How a session is read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import NamedTuple

from django.contrib.sessions.backends.base import SessionBase

from .. import version_cookie
from ..state import NOTHING, State
from ..stores.abilities import Refreshable
from ..stores.contract import Token, Versioned
from ..stores.record import Record
from .records import CLOCK_SKEW
from .sharing import SharesEngine

logger = logging.getLogger("django_distsession.sessions")


class Loaded(NamedTuple):
    """
    What the store held when a session was last read or written.

    data: the state's values as they are serialised. latest: the latest expiry that this object has
    seen of it.
    """

    record: Record
    token: Token
    state: State
    data: bytes
    latest: int


class Loading(SharesEngine, SessionBase):
    """
    Keeps what the store held, for the save to compare with.
    """

    # Set by the middleware: the browser's version cookie.
    version_cookie: str | None = None

    _loaded: Loaded | None = None
    # By storage id, for the tombstones of sessions that this object met and may yet delete.
    _seen: Mapping[str, Loaded] = NOTHING

    def _read(self) -> Loaded | None:
        session_key, shared = self.session_key, self._shared
        storage_id = shared.storage_id(session_key) if session_key else None
        if storage_id is None:
            return None
        found = shared.store.get(storage_id)
        if self.version_cookie is not None:
            found = self._as_new_as_seen(storage_id, found)
        return self._usable(storage_id, found)

    def _as_new_as_seen(self, storage_id: str, found: Versioned | None) -> Versioned | None:
        """
        Look further where the browser has seen a later save than the one that was found.
        """
        at_least = version_cookie.read(self.version_cookie or "", storage_id)
        if _generation(found) >= at_least:
            return found
        store = self._shared.store
        if isinstance(store, Refreshable):
            # What was found first may be newer than what is found further off.
            found = max(found, store.refresh(storage_id, at_least), key=_generation)
        if _generation(found) < at_least:
            self._shared.stale_loads += 1
            logger.warning(
                "A session is older than its browser has seen it, and no store has a newer copy: "
                "generation %d instead of %d.",
                _generation(found),
                at_least,
            )
        return found

    def _usable(self, storage_id: str, found: Versioned | None) -> Loaded | None:
        """
        Return a live record with its contents; None if it is ended, expired or cannot be read.
        """
        if found is None:
            return None
        record, now = found.record, time.time()
        if not record.is_live(now):
            return None
        decoded = self._shared.records.decode(storage_id, record)
        if decoded is None:
            return None
        state, data = decoded
        # What the payload says of its expiry is protected; what stands beside it is not, and is
        # believed only as far as clocks may differ.
        if state.expires_at + CLOCK_SKEW <= now:
            return None
        return self._remember(storage_id, record, found.token, state, data)

    def _remember(
        self, storage_id: str, record: Record, token: Token, state: State, data: bytes
    ) -> Loaded:
        before, latest = self._seen.get(storage_id), record.retention_deadline
        if before and before.latest > latest:
            latest = before.latest
        loaded = Loaded(record, token, state, data, latest)
        self._seen = {**self._seen, storage_id: loaded}
        return loaded


def _generation(found: Versioned | None) -> int:
    return found.record.version.generation if found is not None else 0
