"""
Django's session contract on any store: what is the same for all three engines.

Knows session dicts, states, codecs and expiry. Does not know where records live.
"""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.contrib.sessions.backends.base import (
    VALID_KEY_CHARS,
    CreateError,
    UpdateError,
)
from django.utils.crypto import get_random_string

from .. import version_cookie
from ..exceptions import StoreUnavailable
from ..state import NOTHING, State, first_state, merge, new_tag, next_state
from ..stores.base import Conflict, Found, Record, Token
from . import inspection
from .changes import NO_CHANGE, Change, find_change
from .lending import EVERYTHING, Lending
from .outages import MeetsOutages
from .sharing import SharesEngine
from .threads import in_thread
from .twins import AsyncTwins

logger = logging.getLogger("django_distsession.sessions")

# A save that keeps losing against others gives up after this many seconds. Each round somebody
# wins, so that takes a crowd.
MAX_SECONDS = 10.0
FIRST_PAUSE = 0.004
LONGEST_PAUSE = 0.1

# A tombstone outlives its session by this, in seconds: a request under way may just have extended
# the session on a server that is then cut off.
TOMBSTONE_MARGIN = 3600

# A store may know that a session lives longer than the clock of this process makes of it, by so
# many seconds at most.
CLOCK_SKEW = 3600

# However short a session lives, its expiry is exact to this fraction of its age.
TOUCH_FRACTION = 10

# Where Django keeps what `set_expiry` was given.
EXPIRY_KEY = "_session_expiry"

# 317 years, in seconds: what is beyond makes no difference.
LONGEST_AGE = 10**10

TEXT_ONLY = frozenset({str})


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


class StoreBackedSession(SharesEngine, MeetsOutages, Lending, AsyncTwins):
    """
    A session in a store. Engines say which store by `make_store`.

    Beyond Django's contract: only keys that changed are written, concurrent saves are merged, and
    `StoreUnavailable` tells "cannot be reached" from "does not exist".
    """

    # Set by the middleware: the browser's version cookie.
    version_cookie: str | None = None
    # The storage id and the generation of what was written last.
    written: tuple[str, int] | None = None

    _loaded: Loaded | None = None
    _was_cleared = False
    # By storage id, for the tombstones of sessions that this object met and may yet delete.
    _met: Mapping[str, Loaded] = NOTHING

    # Django's contract.

    def load(self) -> dict[str, Any]:
        """
        Return the session's dict; empty, and without a key, if there is no such session.
        """
        if self.unavailable and self._drops_changes():
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
        while True:
            self._session_key = self._get_new_session_key()
            try:
                self.save(must_create=True)
            except CreateError:
                continue
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
        if self.unavailable and self._drops_changes():
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
        met = self._met.get(storage_id)
        if met is None:
            found = store.get(storage_id)
            if found is None or found.record.ended:
                return
            expiry, latest, token = None, found.record.gone_by, found.token
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

    def get_expiry_age(self, **kwargs: Any) -> int:
        """
        As Django's, which asks for the time also where the answer does not depend on it.
        """
        expiry = kwargs["expiry"] if "expiry" in kwargs else self.get(EXPIRY_KEY)
        if not expiry:
            return self.get_session_cookie_age()
        return super().get_expiry_age(**{**kwargs, "expiry": expiry})

    @classmethod
    def clear_expired(cls) -> None:
        """
        Remove expired sessions from stores that do not do so by themselves.
        """

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

    # How it is done.

    def _read(self) -> Loaded | None:
        session_key, shared = self.session_key, self._shared
        storage_id = shared.storage_id(session_key) if session_key else None
        if storage_id is None:
            return None
        found = shared.store.get(storage_id)
        if self.version_cookie is not None:
            found = self._as_new_as_seen(storage_id, found)
        return self._usable(storage_id, found)

    def _as_new_as_seen(self, storage_id: str, found: Found | None) -> Found | None:
        """
        Look further where the browser has seen a later save than the one that was found.
        """
        at_least = version_cookie.read(self.version_cookie or "", storage_id)
        if _generation(found) >= at_least:
            return found
        # What was found first may be newer than what is found further off.
        found = max(found, self._shared.store.refresh(storage_id, at_least), key=_generation)
        if _generation(found) < at_least:
            self._shared.stale_loads += 1
            logger.warning(
                "A session is older than its browser has seen it, and no store has a newer copy: "
                "generation %d instead of %d.",
                _generation(found),
                at_least,
            )
        return found

    def _usable(self, storage_id: str, found: Found | None) -> Loaded | None:
        """
        Return a live record with its contents; None if it is ended, expired or cannot be read.
        """
        if found is None:
            return None
        record, now = found.record, time.time()
        if not record.is_live(now):
            return None
        opened = self._shared.records.open(storage_id, record)
        if opened is None:
            return None
        state, data = opened
        # What the payload says of its expiry is protected; what stands beside it is not, and is
        # believed only as far as clocks may differ.
        if state.expires_at + CLOCK_SKEW <= now:
            return None
        return self._remember(storage_id, record, found.token, state, data)

    def _remember(
        self, storage_id: str, record: Record, token: Token, state: State, data: bytes
    ) -> Loaded:
        before, latest = self._met.get(storage_id), record.gone_by
        if before and before.latest > latest:
            latest = before.latest
        loaded = Loaded(record, token, state, data, latest)
        self._met = {**self._met, storage_id: loaded}
        return loaded

    def _serialize(self, values: dict[Any, Any]) -> bytes:
        codec = self._shared.records.codec
        data = codec.dumps(values)
        if not TEXT_ONLY.issuperset(map(type, values)):
            # JSON makes all keys text. What is compared and stamped must be what is read again.
            # The values stay the same objects, since the request's code may hold on to them.
            objects = list(values.values())
            places = codec.loads(codec.dumps({key: n for n, key in enumerate(values)}))
            values.clear()
            values.update((key, objects[n]) for key, n in places.items())
            data = codec.dumps(values)
        return data

    def _expires_at(self, expiry: Any) -> int:
        # Settings and `set_expiry` may give fractions, and centuries.
        age = int(self.get_expiry_age(expiry=expiry))
        return _now() + max(-LONGEST_AGE, min(age, LONGEST_AGE))

    def _insert(self, storage_id: str, data: bytes) -> None:
        store, seal = self._shared.store, self._shared.records.seal
        state = self._first()
        record = seal(storage_id, state, data)
        try:
            token = store.add(storage_id, record)
        except Conflict as conflict:
            found = conflict.found
            if found is None or found.record.ended or found.record.is_live(time.time()):
                raise CreateError from None
            state = self._first(after=found.record.version.generation)
            record = seal(storage_id, state, data).holding(found.record.gone_by)
            try:
                token = store.replace(storage_id, record, found.token)
            except Conflict:
                raise CreateError from None
        self.written = (storage_id, record.version.generation)
        self._loaded = self._remember(storage_id, record, token, state, data)

    def _first(self, *, after: int = 0) -> State:
        values = dict(self._session_cache)
        return first_state(
            values,
            created_at=_now(),
            expires_at=self._expires_at(values.get(EXPIRY_KEY)),
            tag=new_tag(),
            after=after,
        )

    def _update(self, storage_id: str, data: bytes) -> None:
        # A session that was cleared and refilled was never read.
        loaded = self._loaded or self._read()
        if loaded is None:
            raise UpdateError
        change = self._change(loaded, data)
        expires_at = self._expires_at(self._session_cache.get(EXPIRY_KEY))
        if not change and not self._is_touch_due(loaded, expires_at):
            self._loaded = loaded
            return
        codec = self._shared.records.codec
        seen = base = loaded.state
        deadline = time.monotonic() + MAX_SECONDS
        for attempt in itertools.count():
            if attempt:
                values = change.apply(base.values)
                # Others may have set another expiry.
                expires_at = self._expires_at(values.get(EXPIRY_KEY))
                data = codec.dumps(values)
            else:
                # What the session was serialised to, object by object.
                values = dict(self._session_cache)
            state = next_state(
                base,
                values,
                changed=change.values.keys(),
                expires_at=expires_at,
                tag=new_tag(),
                cleared=change.cleared,
            )
            try:
                self._loaded = self._replace(storage_id, state, data, loaded)
            except Conflict as conflict:
                current = self._usable(storage_id, conflict.found)
                if current is None:
                    raise UpdateError from None
                # Nothing that was seen is forgotten, whatever a second fault brought to light.
                loaded, base = current, merge(current.state, base)
                if time.monotonic() > deadline:
                    raise StoreUnavailable(
                        f"A session kept changing for {MAX_SECONDS:.0f} seconds, in which it "
                        "could not be saved."
                    ) from None
                _pause(attempt)
            else:
                if attempt:
                    self._show(state, seen, change)
                return

    def _replace(self, storage_id: str, state: State, data: bytes, loaded: Loaded) -> Loaded:
        shared = self._shared
        record = shared.records.seal(storage_id, state, data).holding(loaded.latest)
        token = shared.store.replace(storage_id, record, loaded.token)
        self.written = (storage_id, record.version.generation)
        return self._remember(storage_id, record, token, state, data)

    def _change(self, loaded: Loaded, data: bytes) -> Change:
        values = self._session_cache
        if self._was_cleared:
            return Change(dict(values), (), cleared=True)
        if data == loaded.data:
            return NO_CHANGE
        codec = self._shared.records.codec
        lent = self._lent if codec.is_tree else EVERYTHING
        return find_change(codec, loaded.state.values, loaded.data, values, lent)

    def _is_touch_due(self, loaded: Loaded, expires_at: int) -> bool:
        return expires_at - loaded.state.expires_at >= self._touch_interval(expires_at)

    def _touch_interval(self, expires_at: int) -> int:
        # An interval longer than the session lives would log active users out.
        lifetime = max(expires_at - _now(), 0)
        return max(1, min(self._shared.settings.touch_interval, lifetime // TOUCH_FRACTION))

    def _show(self, state: State, seen: State, change: Change) -> None:
        """
        Bring the session dict up to what was stored, so that it shows what others changed.

        Values that this request set or that did not change stay the same objects, since its code
        may hold on to them.
        """
        codec, shown = self._shared.records.codec, self._session_cache
        for key in [key for key in shown if key not in state.values]:
            del shown[key]
        for key, stamp in state.stamps.items():
            if key in change.values or stamp == seen.stamps.get(key):
                continue
            value = state.values[key]
            # One that was only stamped anew is the same.
            if key not in shown or codec.dumps({"": shown[key]}) != codec.dumps({"": value}):
                shown[key] = value


def _now() -> int:
    return int(time.time())


def _generation(found: Found | None) -> int:
    return found.record.version.generation if found is not None else 0


def _pause(attempt: int) -> None:
    # "Full jitter": Brooker, "Exponential backoff and jitter", 2015.
    time.sleep(random.uniform(0, min(FIRST_PAUSE * 2 ** min(attempt, 10), LONGEST_PAUSE)))  # noqa: S311
