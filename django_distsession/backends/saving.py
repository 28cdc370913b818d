"""
How a session is written: only what changed, merged with what others changed meanwhile.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Mapping
from typing import Any

from django.contrib.sessions.backends.base import CreateError, UpdateError

from ..exceptions import StoreUnavailable, UnreadableCopy
from ..stamps import Stamp
from ..state import State, first_state, new_tag, next_state
from ..stores.backoff import pause
from ..stores.contract import Conflict, Versioned
from . import expiry
from .changes import NO_CHANGE, Change, find_change
from .expiry import EXPIRY_KEY, Expiring
from .lending import EVERYTHING, Lending
from .loading import Loaded, Loading
from .queueing import Ticket
from .retrying import Retry

# A save that keeps losing against others gives up after this many seconds. Each round somebody
# wins, so that takes a crowd.
MAX_SECONDS = 10.0

TEXT_ONLY = frozenset({str})


class Saving(Loading, Expiring, Lending):
    """
    Writes what `Loading` read, or something new.
    """

    # The storage id and the generation of what was written last.
    written: tuple[str, int] | None = None

    _was_cleared = False

    def _serialize(self, values: dict[Any, Any]) -> bytes:
        codec = self._shared.records.codec
        data = codec.dumps(values)
        if not TEXT_ONLY.issuperset(map(type, values)):
            # JSON makes all keys text. What is compared and stamped must be what is read again.
            # The values stay the same objects, since the request's code may hold on to them.
            objects = list(values.values())
            numbers = codec.as_read(values)
            # What was handed out under a key is under another one now.
            self._lent = EVERYTHING
            values.clear()
            values.update((key, objects[n]) for key, n in numbers.items())
            data = codec.dumps(values)
        return data

    def _insert(self, storage_id: str, data: bytes) -> None:
        store, encode = self._shared.store, self._shared.records.encode
        state = self._first()
        record = encode(storage_id, state, data)
        try:
            token = store.add(storage_id, record)
        except Conflict as conflict:
            found = conflict.current
            if found is None or found.record.ended or found.record.is_live(time.time()):
                raise CreateError from None
            state = self._first(after=found.record.version.generation)
            record = encode(storage_id, state, data).retained_until(found.record.retention_deadline)
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
            created_at=expiry.now(),
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
        if not change and not self._is_touch_due(loaded.state.expires_at, expires_at):
            self._loaded = loaded
            return
        retry = Retry(loaded, change)
        if storage_id not in self._shared.queues:
            # What the session was serialised to, object by object.
            values = dict(self._session_cache)
            state = _next_state(loaded.state, values, change, expires_at)
            retry.tried(state.saved)
            try:
                self._loaded = self._replace(storage_id, state, data, loaded)
            except Conflict as conflict:
                self._meet(storage_id, retry, conflict)
            else:
                return
        self._loaded = self._write_in_turn(storage_id, retry)
        self._show(self._loaded.state, loaded.state, retry.own)

    def _write_in_turn(self, storage_id: str, retry: Retry) -> Loaded:
        """
        Write to a session that others are writing to as well, one after the other.
        """
        queues, deadline = self._shared.queues, time.monotonic() + MAX_SECONDS
        ticket = Ticket(storage_id)
        try:
            queues.join(ticket)
            stored = ticket.wait(deadline)
            if stored is not None and stored.record.version > retry.current.record.version:
                current = self._usable(storage_id, stored)
                if current is not None:
                    retry.meet(current)
            written = self._write_again(storage_id, retry, deadline)
            ticket.stored = Versioned(written.record, written.token)
            return written
        finally:
            queues.leave(ticket)

    def _write_again(self, storage_id: str, retry: Retry, deadline: float) -> Loaded:
        codec = self._shared.records.codec
        for attempt in itertools.count():
            if time.monotonic() > deadline:
                break
            if attempt > 1:
                # What the last conflict told is old by then.
                pause(attempt)
                found = self._shared.store.get(storage_id)
                retry.meet(self._still_usable(storage_id, found))
            values = retry.rest.apply(retry.base.values)
            # Others may have set another expiry.
            expires_at = self._expires_at(values.get(EXPIRY_KEY))
            state = _next_state(retry.base, values, retry.rest, expires_at)
            retry.tried(state.saved)
            try:
                return self._replace(storage_id, state, codec.dumps(values), retry.current)
            except Conflict as conflict:
                self._meet(storage_id, retry, conflict)
        raise StoreUnavailable(
            f"A session kept changing for {MAX_SECONDS:.0f} seconds, in which it could not be "
            "saved."
        )

    def _meet(self, storage_id: str, retry: Retry, conflict: Conflict) -> None:
        retry.meet(self._still_usable(storage_id, conflict.current), applied=conflict.applied)

    def _still_usable(self, storage_id: str, found: Versioned | None) -> Loaded:
        current = self._usable(storage_id, found)
        if current is None:
            if found and found.record.is_live(time.time()):
                # It could be read a moment ago.
                raise UnreadableCopy from None
            raise UpdateError from None
        return current

    def _replace(self, storage_id: str, state: State, data: bytes, loaded: Loaded) -> Loaded:
        shared = self._shared
        record = shared.records.encode(storage_id, state, data).retained_until(loaded.latest)
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

    def _show(self, state: State, seen: State, own: Collection[Stamp]) -> None:
        """
        Bring the session dict up to what is stored, so that it shows what others changed.

        Values that this request set (its saves were stamped `own`) or that did not change stay the
        same objects, since its code may hold on to them.
        """
        codec, shown = self._shared.records.codec, self._session_cache
        for key in [key for key in shown if key not in state.values]:
            del shown[key]
        for key, stamp in state.stamps.items():
            if stamp in own or stamp == seen.stamps.get(key):
                continue
            value = state.values[key]
            # One that was only stamped anew is the same.
            if key not in shown or codec.dumps({"": shown[key]}) != codec.dumps({"": value}):
                shown[key] = value


def _next_state(base: State, values: Mapping[Any, Any], change: Change, expires_at: int) -> State:
    return next_state(
        base,
        values,
        changed=change.values.keys(),
        expires_at=expires_at,
        tag=new_tag(),
        cleared=change.cleared,
    )
