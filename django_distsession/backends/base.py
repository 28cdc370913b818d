"""
Django's session contract on any store: what is the same for all three engines.

How a session is read and written is in `loading` and `saving`. None of it knows where records live.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

from django.contrib.sessions.backends.base import (
    VALID_KEY_CHARS,
    CreateError,
    UpdateError,
)
from django.utils.crypto import get_random_string

from ..exceptions import StoreUnavailable
from ..stores.abilities import Collectable, UserIndex, UserSession, end_for_user
from ..stores.garbage import GCOptions, GCResult
from . import inspection
from .expiry import EXPIRY_KEY
from .outages import MeetsOutages
from .saving import Saving
from .threads import in_thread
from .twins import AsyncTwins

# A tombstone outlives its session by this, in seconds: a request under way may just have extended
# the session on a server that is then cut off.
TOMBSTONE_MARGIN = 3600

# No key that `create` makes up was ever taken.
MOST_KEYS = 8


class StoreBackedSession(Saving, MeetsOutages, AsyncTwins):
    """
    A session in a store. Engines say which store by `make_store`.

    Beyond Django's contract: only keys that changed are written, concurrent saves are merged, and
    `StoreUnavailable` tells "cannot be reached" from "does not exist".
    """

    def load(self) -> dict[str, Any]:
        """
        Return the session's dict; empty, and without a key, if there is no such session.
        """
        if self._drops_changes():
            return {}
        try:
            loaded = self._read()
        except StoreUnavailable as error:
            self._go_on_without(error)
            return {}
        if loaded is None:
            self._session_key = self._loaded = None
            return {}
        if not hasattr(self, "_session_cache"):
            # Otherwise somebody calls this by hand: the session dict stays what it was, and so
            # does what it is compared with.
            self._loaded, self._was_cleared = loaded, False
        # A copy: what the user does to it must not reach the state it is compared with.
        return dict(loaded.state.values)

    def exists(self, session_key: str) -> bool:
        """
        Whether there is a live session with this key.
        """
        storage_id = self.storage_id(session_key) if session_key else None
        if storage_id is None:
            return False
        found = self.get_store().get(storage_id)
        return found is not None and found.record.is_live(time.time())

    def _get_new_session_key(self) -> str:
        # 165 bits: no need to ask whether it is taken; `create` notices if it is.
        return get_random_string(32, VALID_KEY_CHARS)

    async def _aget_new_session_key(self) -> str:
        return self._get_new_session_key()

    def create(self) -> None:
        """
        Store a new session under a new key.
        """
        before = self.session_key
        for attempt in itertools.count(1):
            self._session_key = self._get_new_session_key()
            try:
                self.save(must_create=True)
            except CreateError:
                if attempt < MOST_KEYS:
                    continue
                self._session_key = before
                raise StoreUnavailable(
                    f"Each of {MOST_KEYS} new session keys was taken, says the store."
                ) from None
            except BaseException:
                # What was loaded belongs to the key that it was loaded by.
                self._session_key = before
                raise
            if self._drops_changes():
                self._session_key = before
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        """
        Write what changed since the load, merged with what others changed meanwhile.

        `UpdateError` if the session is gone, `CreateError` if it exists and must not. Whatever
        goes wrong, the stored session is as before.
        """
        session_key = self.session_key
        if session_key is None:
            self.create()
            return
        storage_id = self._shared.storage_id(session_key)
        values = self._load_session(no_load=must_create)
        # Loading may have found that there is no such session, or that nothing can be told of it.
        if self._drops_changes():
            return
        if self.session_key is None:
            self.create()
            return
        if storage_id is None:
            raise CreateError if must_create else UpdateError
        data = self._serialize(values)
        try:
            if must_create:
                self._insert(storage_id, data)
            else:
                self._update(storage_id, data)
        except StoreUnavailable as error:
            self._go_on_without(error)
            return
        self._was_cleared = False

    def delete(self, session_key: str | None = None) -> None:
        """
        End a session: leave a tombstone, so that no old copy comes back to life.

        In an outage this raises, whatever `ON_UNAVAILABLE` says: nobody must be told that they
        are logged out while they are not.
        """
        if session_key is None:
            if self.session_key is None:
                return
            session_key = self.session_key
        storage_id = self.storage_id(session_key)
        if storage_id is None:
            return
        store = self.get_store()
        met = self._seen.get(storage_id)
        if met is None:
            found = store.get(storage_id)
            if found is None or found.record.ended:
                return
            expiry, latest, token = None, found.record.retention_deadline, found.token
        else:
            expiry, latest, token = met.state.values.get(EXPIRY_KEY), met.latest, met.token
        # Another request may just have extended it.
        try:
            extended = self._expires_at(expiry)
        except (TypeError, ValueError):
            # A date that cannot be compared, say since USE_TZ changed, must not keep anybody in.
            extended = self._expires_at(None)
        store.end(storage_id, max(latest, extended) + TOMBSTONE_MARGIN, token)

    def cycle_key(self) -> None:
        """
        Go on under a new key.
        """
        values, old_key = self._load_session(), self.session_key
        self.create()
        self._session_cache = values
        if old_key and not self._drops_changes():
            self.delete(old_key)

    def clear(self) -> None:
        """
        Empty the session. What others add without knowing of it is gone too.
        """
        super().clear()
        self._was_cleared = True

    # What only some stores can do.

    @classmethod
    def clear_expired(cls, options: GCOptions | None = None) -> GCResult:  # type: ignore[override]
        """
        Remove expired sessions for good, and tell how many: none of a store that forgets by itself.
        """
        store = cls.get_store()
        return store.clear_expired(options) if isinstance(store, Collectable) else GCResult()

    @classmethod
    def for_user(cls, user_id: Any) -> list[UserSession]:
        """
        Return the live sessions in which a user is logged in, the oldest first. Not for every
        request: it reads an index, which may first have to catch up.
        """
        return cls._user_index().for_user(str(user_id))

    @classmethod
    def end_for_user(cls, user_id: Any, keep: str | None = None) -> int:
        """
        End all sessions of a user but the one with the session key `keep`: "log out my other
        devices". Returns how many.
        """
        kept = cls.storage_id(keep) if keep else None
        return end_for_user(cls._user_index(), str(user_id), keep=kept, margin=TOMBSTONE_MARGIN)

    @classmethod
    def _user_index(cls) -> UserIndex:
        store = cls.get_store()
        if not isinstance(store, UserIndex):
            raise NotImplementedError(
                f"{cls.__module__} keeps no index of users, so it cannot tell whose sessions it "
                "has. The engines couchdb and hybrid do."
            )
        return store

    # For people.

    def inspect(self) -> dict[str, Any]:
        """
        Tell where this session lives: engine, storage id, version, and each server's copy.
        """
        return inspection.describe(self)

    async def ainspect(self) -> dict[str, Any]:
        """
        See `inspect`.
        """
        return await in_thread(self.inspect)

    @classmethod
    async def afor_user(cls, user_id: Any) -> list[UserSession]:
        """
        See `for_user`.
        """
        return await in_thread(cls.for_user, user_id)

    @classmethod
    async def aend_for_user(cls, user_id: Any, keep: str | None = None) -> int:
        """
        See `end_for_user`.
        """
        return await in_thread(cls.end_for_user, user_id, keep)
