"""
How a session is read.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import version_cookie
from ..exceptions import StoreUnavailable
from ..observing import StaleLoad
from ..state import State
from ..stores.abilities import Refreshable
from ..stores.contract import Token, Versioned
from ..stores.operations import Operation
from ..stores.record import Record
from .records import CLOCK_SKEW
from .runtime import Runtime, report

if TYPE_CHECKING:
    from .base import StoreBackedSession

logger = logging.getLogger("django_distsession.sessions")


class Loaded(NamedTuple):
    """
    What the store held when a session was last read or written.

    data: the state's values as they are serialised. latest: the latest expiry that the session
    object has seen of it.
    """

    record: Record
    token: Token
    state: State
    data: bytes
    latest: int


class Seen(dict[str, Loaded]):
    """
    What one session object has seen of the store, by storage id: what a save is compared with, and
    what a tombstone has to outlive.
    """

    def remember(
        self, storage_id: str, record: Record, token: Token, state: State, data: bytes
    ) -> Loaded:
        """
        Return what was read or written just now.
        """
        before, latest = self.get(storage_id), record.retention_deadline
        if before is not None and before.latest > latest:
            latest = before.latest
        loaded = self[storage_id] = Loaded(record, token, state, data, latest)
        return loaded


def load_gen(session: StoreBackedSession) -> Operation[dict[str, Any]]:
    """
    Return what the session dict is to be: empty, and without a key, if there is no such session.
    """
    if session.unavailable and session.anonymous_when_unavailable:
        return {}
    runtime, session_key, loaded = session.runtime, session.session_key, None
    storage_id = runtime.storage_id(session_key) if session_key else None
    try:
        if storage_id is not None:
            found = yield from read_gen(session, storage_id)
            loaded = usable(session, storage_id, found)
    except StoreUnavailable as error:
        session.go_on_without(error)
        return {}
    if loaded is None:
        session._session_key = session.loaded = None
        return {}
    if not hasattr(session, "_session_cache"):
        # Otherwise somebody calls this by hand: the session dict stays what it was, and so does
        # what it is compared with.
        session.loaded, session.was_cleared = loaded, False
    # A copy: what the user does to it must not reach the state it is compared with.
    return dict(loaded.state.values)


def exists_gen(runtime: Runtime, session_key: str) -> Operation[bool]:
    """
    Tell whether there is a live session with this key.
    """
    storage_id = runtime.storage_id(session_key) if session_key else None
    if storage_id is None:
        return False
    found = yield from runtime.operations.get_gen(storage_id)
    return found is not None and found.record.is_live(runtime.clock.now())


def read_gen(session: StoreBackedSession, storage_id: str) -> Operation[Versioned | None]:
    """
    Read what is stored, and further where the browser has seen a later save than that.
    """
    operations, cookie = session.runtime.operations, session.version_cookie
    if cookie is None:
        return operations.get_gen(storage_id)
    return _as_new_as_seen_gen(session.runtime, storage_id, version_cookie.read(cookie, storage_id))


def _as_new_as_seen_gen(
    runtime: Runtime, storage_id: str, at_least: int
) -> Operation[Versioned | None]:
    found = yield from runtime.operations.get_gen(storage_id)
    if _generation(found) >= at_least:
        return found
    if isinstance(runtime.store, Refreshable):
        refreshed = yield from runtime.operations.refresh_gen(storage_id, at_least)
        # What was found first may be newer than what is found further off.
        found = max(found, refreshed, key=_generation)
    is_stale = _generation(found) < at_least
    report(runtime, StaleLoad, not is_stale)
    if is_stale:
        runtime.stale_loads += 1
        logger.warning(
            "A session is older than its browser has seen it, and no store has a newer copy: "
            "generation %d instead of %d.",
            _generation(found),
            at_least,
        )
    return found


def usable(session: StoreBackedSession, storage_id: str, found: Versioned | None) -> Loaded | None:
    """
    Return a live record with its contents; None if it is ended, expired or cannot be read.
    """
    if found is None:
        return None
    runtime, record = session.runtime, found.record
    now = runtime.clock.now()
    if not record.is_live(now):
        return None
    decoded = runtime.records.decode(storage_id, record)
    if decoded is None:
        return None
    state, data = decoded
    # What the payload says of its expiry is protected; what stands beside it is not, and is
    # believed only as far as clocks may differ.
    if state.expires_at + CLOCK_SKEW <= now:
        return None
    return session.seen.remember(storage_id, record, found.token, state, data)


def _generation(found: Versioned | None) -> int:
    return found.record.version.generation if found is not None else 0
