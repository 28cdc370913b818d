"""
The sessions of a user, from an index of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from ..base import Found, UserSession
from .client import Client
from .designs import BY_USER, CONFLICTED, USERS


def sessions(
    client: Client, user: str, now: int, read: Callable[[str], Found | None]
) -> list[UserSession]:
    """
    Return a user's sessions that have not expired, the oldest first.

    read: returns all branches of a session merged. The index shows the winning one alone, which
    need not know that the user logged in; so whatever has conflicts is read.
    """
    rows = client.view(USERS, BY_USER, startkey=[user], endkey=[user, {}], reduce=False)
    conflicted = client.view(USERS, CONFLICTED)
    doubtful = {row["id"]: row["value"] for row in conflicted}
    found = {
        row["id"]: UserSession(row["id"], *row["value"])
        for row in rows
        if row["id"] not in doubtful
    }
    for storage_id, updated_at in doubtful.items():
        merged = read(storage_id)
        if merged is not None and merged.record.user == user and not merged.record.ended:
            record = merged.record
            found[storage_id] = UserSession(
                storage_id, record.created_at, updated_at, record.expires_at
            )
    live = (session for session in found.values() if session.expires_at > now)
    return sorted(live, key=lambda session: (session.created_at, session.storage_id))
