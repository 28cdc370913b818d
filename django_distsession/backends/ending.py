"""
How a session is ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..stores.operations import Operation
from .expiry import EXPIRY_KEY

if TYPE_CHECKING:
    from .base import StoreBackedSession

# A tombstone outlives its session by this, in seconds: a request under way may just have extended
# the session on a server that is then cut off.
TOMBSTONE_MARGIN = 3600


def delete_gen(session: StoreBackedSession, session_key: str | None) -> Operation[None]:
    """
    Leave a tombstone under a key, or under the session's own. Where nothing is, nothing is left.
    """
    runtime = session.runtime
    session_key = session.session_key if session_key is None else session_key
    storage_id = runtime.storage_id(session_key) if session_key is not None else None
    if storage_id is None:
        return
    known = session.seen.get(storage_id)
    if known is None:
        found = yield from runtime.operations.get_gen(storage_id)
        if found is None or found.record.ended:
            return
        expiry, latest, token = None, found.record.retention_deadline, found.token
    else:
        expiry, latest, token = known.state.values.get(EXPIRY_KEY), known.latest, known.token
    # Another request may just have extended it.
    try:
        extended = session.expires_at(expiry)
    except (TypeError, ValueError):
        # A date that cannot be compared, say since USE_TZ changed, must not keep anybody in.
        extended = session.expires_at(None)
    expires_at = max(latest, extended) + TOMBSTONE_MARGIN
    yield from runtime.operations.end_gen(storage_id, expires_at, token)
