"""
What operators and sites ask of an engine's store, beside Django's contract. `StoreBackedSession`
has these functions as its methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..stores.abilities import (
    Collectable,
    Inspectable,
    Monitored,
    UserIndex,
    UserSession,
    parts_of,
)
from ..stores.abilities import end_for_user as end_in_store
from ..stores.contract import Store
from ..stores.garbage import GCOptions, GCResult
from ..stores.threads import in_thread
from .ending import TOMBSTONE_MARGIN

if TYPE_CHECKING:
    from .base import StoreBackedSession

    Engine = type[StoreBackedSession]


def get_store(engine: Engine) -> Store:
    """
    Return the store behind this engine.
    """
    return engine.runtime.store


def stale_loads(engine: Engine) -> int:
    """
    Return how often this process had to use an older copy than a browser had seen.
    """
    return engine.runtime.stale_loads


def status(engine: Engine) -> list[dict[str, Any]]:
    """
    Tell how each server behind this engine is doing, as this process sees it. Asks none of them.
    """
    parts = parts_of(engine.runtime.store)
    return [one for part in parts if isinstance(part, Monitored) for one in part.status()]


async def astatus(engine: Engine) -> list[dict[str, Any]]:
    return engine.status()


def clear_expired(engine: Engine, options: GCOptions | None = None) -> GCResult:
    """
    Remove expired sessions for good, and tell how many: none of a store that forgets by itself.
    """
    store = engine.runtime.store
    return store.clear_expired(options) if isinstance(store, Collectable) else GCResult()


async def aclear_expired(engine: Engine) -> None:
    await in_thread(engine.clear_expired)


def for_user(engine: Engine, user_id: Any) -> list[UserSession]:
    """
    Return the live sessions in which a user is logged in, the oldest first. Not for every request:
    it reads an index, which may first have to catch up.
    """
    return _user_index(engine).for_user(str(user_id))


async def afor_user(engine: Engine, user_id: Any) -> list[UserSession]:
    return await in_thread(engine.for_user, user_id)


def end_for_user(engine: Engine, user_id: Any, keep: str | None = None) -> int:
    """
    End all sessions of a user but the one with the session key `keep`: "log out my other devices".
    Returns how many.
    """
    kept = engine.storage_id(keep) if keep else None
    return end_in_store(_user_index(engine), str(user_id), keep=kept, margin=TOMBSTONE_MARGIN)


async def aend_for_user(engine: Engine, user_id: Any, keep: str | None = None) -> int:
    return await in_thread(engine.end_for_user, user_id, keep)


def _user_index(engine: Engine) -> UserIndex:
    store = engine.runtime.store
    if not isinstance(store, UserIndex):
        raise NotImplementedError(
            f"{engine.__module__} keeps no index of users, so it cannot tell whose sessions it "
            "has. The engines couchdb and hybrid do."
        )
    return store


def inspect(session: StoreBackedSession) -> dict[str, Any]:
    """
    Tell where this session lives: engine, storage id, version, expiry (seconds since the epoch),
    and each server's copy. One that nobody stored yet has neither storage id nor copies.
    """
    about: dict[str, Any] = {
        "engine": type(session).__module__.rpartition(".")[2],
        "storage_id": None,
        "version": None,
        "expires_at": None,
        "copies": [],
    }
    session.load_session()
    loaded, session_key = session.loaded, session.session_key
    storage_id = session.storage_id(session_key) if loaded and session_key else None
    if loaded is None or storage_id is None:
        return about
    about["storage_id"] = storage_id
    about["version"] = list(loaded.record.version)
    about["expires_at"] = loaded.record.expires_at
    store = session.runtime.store
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


async def ainspect(session: StoreBackedSession) -> dict[str, Any]:
    return await in_thread(session.inspect)
