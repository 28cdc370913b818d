"""
The sessions of a user, from an index of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ...stamps import whole
from ..abilities import UserSession
from ..contract import Versioned
from ..deadline import Deadline
from .client import Client, DatabaseMissing, DesignMissing
from .client.answers import is_whole
from .client.paging import pages
from .designs.design import BY_USER, CONFLICTED, USERS
from .reporting import Reporter, is_outage, told

# Rows at a time.
PAGE = 1000


def sessions(
    client: Client,
    user: str,
    now: int,
    read: Callable[[str, Deadline], Versioned | None],
    reporter: Reporter,
    deadline: Deadline,
) -> list[UserSession]:
    """
    Return a user's sessions that have not expired, the oldest first.

    read: returns all branches of a session merged. The index shows the winning one alone, which
    need not know that the user logged in; so whatever has conflicts is read, and so is what the
    index shows odd times of. What cannot be read is nobody's session, and reported.
    """
    query = {"startkey": [user], "endkey": [user, {}], "reduce": False}
    rows = client.view(USERS, BY_USER, deadline, **query)
    shown = {row["id"]: _session(row["id"], row["value"]) for row in rows}
    doubtful: dict[str, Any] = {
        storage_id: None for storage_id, session in shown.items() if session is None
    }
    doubtful |= {row["id"]: row["value"] for row in _conflicted(client, deadline)}
    found = [one for key, one in shown.items() if one is not None and key not in doubtful]
    for storage_id, updated_at in doubtful.items():
        try:
            merged = read(storage_id, deadline)
        except (DatabaseMissing, DesignMissing):
            raise
        except Exception as error:
            if is_outage(error):
                raise
            reporter.pass_over(storage_id, told(error))
            continue
        if merged is not None and merged.record.user == user and not merged.record.ended:
            created_at, expires_at = merged.record.created_at, merged.record.expires_at
            updated_at = updated_at if is_whole(updated_at) else created_at
            found.append(UserSession(storage_id, created_at, updated_at, expires_at))
    live = (session for session in found if session.expires_at > now)
    return sorted(live, key=lambda session: (session.created_at, session.storage_id))


def _session(storage_id: str, times: Any) -> UserSession | None:
    try:
        created_at, updated_at, expires_at = times
        return UserSession(storage_id, whole(created_at), whole(updated_at), whole(expires_at))
    except (TypeError, ValueError):
        return None


def _conflicted(client: Client, deadline: Deadline) -> Iterator[dict[str, Any]]:
    for rows in pages(partial(client.view, USERS, CONFLICTED, deadline), lambda: PAGE):
        yield from rows
