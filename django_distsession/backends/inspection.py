"""
Where a session lives, for people: the demo site, a shell, an operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..stores.abilities import Inspectable

if TYPE_CHECKING:
    from .base import StoreBackedSession


def describe(session: StoreBackedSession) -> dict[str, Any]:
    """
    Return engine, storage id, version, expiry (seconds since the epoch), and each server's copy.

    A session that nobody stored yet has neither storage id nor copies.
    """
    engine = type(session).__module__.rpartition(".")[2]
    about: dict[str, Any] = {
        "engine": engine,
        "storage_id": None,
        "version": None,
        "expires_at": None,
        "copies": [],
    }
    session._get_session()
    if session.session_key is None or session._loaded is None:
        return about
    storage_id = session.storage_id(session.session_key)
    if storage_id is None:
        return about
    about["storage_id"] = storage_id
    about["version"] = list(session._loaded.record.version)
    about["expires_at"] = session._loaded.record.expires_at
    store = session.get_store()
    copies = store.inspect(storage_id) if isinstance(store, Inspectable) else []
    about["copies"] = [
        {
            "store": copy.store,
            "place": copy.place,
            "state": copy.condition,
            "version": copy.version and list(copy.version),
            "replica": copy.replica,
            "detail": copy.detail,
        }
        for copy in copies
    ]
    return about
