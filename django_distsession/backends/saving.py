"""
How a session is saved, from beginning to end.

What the request changed is found by comparing the session dict with what was loaded, made into the
next state, and written in place of what was loaded, by compare-and-swap: one round trip. A save
that was refused, since another one was faster, queues behind the other saves of this session in
this process, makes its change to what the store holds by then, and tries again; in the end the
session dict shows what others changed, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from django.contrib.sessions.backends.base import CreateError, UpdateError

from ..codecs import Codec
from ..exceptions import StoreUnavailable, UnreadableCopy
from ..stamps import Stamp
from ..state import State, first_state, new_tag, next_state
from ..stores.backoff import delay
from ..stores.contract import Conflict, Versioned
from ..stores.operations import Operation, Pause
from .access_tracking import EVERYTHING, AccessedKeys
from .changes import NO_CHANGE, Change, find_change
from .expiry import EXPIRY_KEY, ExpiresAt, is_touch_due
from .loading import Loaded, Seen, read_gen, usable
from .overriding import CallMethod
from .queueing import Ticket, Turn
from .retrying import Retry
from .runtime import Runtime

if TYPE_CHECKING:
    from .base import StoreBackedSession

# A save that keeps losing against others gives up after this many seconds. Each round somebody
# wins, so that takes a crowd.
MAX_SECONDS = 10.0

TEXT_ONLY = frozenset({str})


def save_gen(session: StoreBackedSession, must_create: bool) -> Operation[None]:
    """
    Write what changed since the load, or a new session.
    """
    session.accessed = True
    if not hasattr(session, "_session_cache"):
        yield CallMethod(session.load_session, session.aload_session, must_create)
    # Loading may have found that there is no such session, or that nothing can be told of it.
    if session.drops_changes():
        return
    runtime, session_key = session.runtime, session.session_key
    if session_key is None:
        yield CallMethod(session.create, session.acreate)
        return
    storage_id = runtime.storage_id(session_key)
    if storage_id is None:
        raise CreateError if must_create else UpdateError
    values, loaded = session._session_cache, session.loaded
    codec = runtime.records.codec
    data = codec.dumps(values)
    if not TEXT_ONLY.issuperset(map(type, values)):
        # What was handed out under a key is under another one now.
        session.accessed_keys = EVERYTHING
        keep_keys_as_read(codec, values)
        data = codec.dumps(values)
    save = Save(runtime, session.seen, storage_id, session.expires_at)
    try:
        if must_create:
            stored = yield from save.insert_gen(values, data)
        else:
            if loaded is None:
                # A session that was cleared and refilled was never read.
                loaded = yield from read_gen(
                    runtime, session.seen, storage_id, session.version_cookie
                )
            if loaded is None:
                raise UpdateError
            stored = yield from save.update_gen(
                loaded, values, data, session.accessed_keys, cleared=session.was_cleared
            )
    except StoreUnavailable as error:
        session.go_on_without(error)
        return
    if stored is not loaded:
        session.written = (storage_id, stored.record.version.generation)
    session.loaded, session.was_cleared = stored, False


class Save:
    """
    One save of one session. The session dict, `values`, is serialised in `data`.
    """

    __slots__ = ("_expires_at", "_runtime", "_seen", "_storage_id")

    def __init__(
        self, runtime: Runtime, seen: Seen, storage_id: str, expires_at: ExpiresAt
    ) -> None:
        self._runtime = runtime
        self._seen = seen
        self._storage_id = storage_id
        self._expires_at = expires_at

    # A session that is new.

    def insert_gen(self, values: dict[Any, Any], data: bytes) -> Operation[Loaded]:
        """
        Store a new session. `CreateError` if there is one.
        """
        state = self._first_state(values)
        record = self._runtime.records.encode(self._storage_id, state, data)
        try:
            token = yield from self._runtime.operations.add_gen(self._storage_id, record)
        except Conflict as conflict:
            found = conflict.current
        else:
            return self._seen.remember(self._storage_id, record, token, state, data)
        if found is None or found.record.ended or found.record.is_live(self._runtime.clock.now()):
            raise CreateError
        # One that has expired makes room.
        state = self._first_state(values, after=found.record.version.generation)
        try:
            return (
                yield from self._replace_gen(
                    state, data, found.token, found.record.retention_deadline
                )
            )
        except Conflict:
            raise CreateError from None

    def _first_state(self, values: dict[Any, Any], *, after: int = 0) -> State:
        return first_state(
            dict(values),
            created_at=int(self._runtime.clock.now()),
            expires_at=self._expires_at(values.get(EXPIRY_KEY)),
            tag=new_tag(),
            after=after,
        )

    # A session that was loaded.

    def update_gen(
        self,
        loaded: Loaded,
        values: dict[Any, Any],
        data: bytes,
        accessed: AccessedKeys,
        *,
        cleared: bool,
    ) -> Operation[Loaded]:
        """
        Write what changed since the load. Return what is stored now: `loaded` itself if there was
        nothing to write. `UpdateError` if the session is gone.

        accessed: the keys of values that may have changed in place. cleared: whether the session
        was emptied first.
        """
        runtime = self._runtime
        if cleared:
            change = Change(dict(values), (), cleared=True)
        else:
            change = find_change(runtime.records.codec, loaded, values, data, accessed)
        expires_at = self._expires_at(values.get(EXPIRY_KEY))
        if change is NO_CHANGE and not is_touch_due(runtime, loaded.state.expires_at, expires_at):
            return loaded
        if self._storage_id not in runtime.queues.last:
            # A copy: what the session was serialised to, object by object.
            state = _next_state(loaded.state, dict(values), change, expires_at)
            try:
                return (yield from self._replace_gen(state, data, loaded.token, loaded.latest))
            except Conflict as conflict:
                retry = Retry(loaded, change)
                retry.tried(state.saved)
                self._rebase(retry, conflict.current, applied=conflict.applied)
        else:
            retry = Retry(loaded, change)
        stored = yield from self._replace_in_turn_gen(retry)
        show(runtime.records.codec, values, stored.state, loaded.state, retry.own)
        return stored

    def _replace_gen(self, state: State, data: bytes, token: Any, latest: int) -> Operation[Loaded]:
        """
        Write a state in place of what came with `token`, to be held until `latest` at least.
        """
        runtime, storage_id = self._runtime, self._storage_id
        record = runtime.records.encode(storage_id, state, data).retained_until(latest)
        token = yield from runtime.operations.replace_gen(storage_id, record, token)
        return self._seen.remember(storage_id, record, token, state, data)

    # A session that others save at the same time.

    def _replace_in_turn_gen(self, retry: Retry) -> Operation[Loaded]:
        """
        Wait for the saves of this process that came before, and go on from what they stored.
        """
        clock, queues = self._runtime.clock, self._runtime.queues
        deadline = clock.monotonic() + MAX_SECONDS
        ticket = Ticket(self._storage_id, clock)
        try:
            queues.join(ticket)
            found = yield Turn(ticket, deadline)
            if found is not None and found.record.version > retry.current.record.version:
                current = usable(self._runtime, self._seen, self._storage_id, found)
                if current is not None:
                    retry.rebase(current)
            stored = yield from self._replace_again_gen(retry, deadline)
            ticket.stored = Versioned(stored.record, stored.token)
            return stored
        finally:
            queues.leave(ticket)

    def _replace_again_gen(self, retry: Retry, deadline: float) -> Operation[Loaded]:
        runtime = self._runtime
        for attempt in itertools.count():
            if runtime.clock.monotonic() > deadline:
                break
            if attempt > 1:
                # What the last conflict told is old by then.
                yield Pause(delay(attempt))
                found = yield from runtime.operations.get_gen(self._storage_id)
                self._rebase(retry, found)
            values = retry.rest.apply(retry.base.values)
            # Others may have set another expiry.
            expires_at = self._expires_at(values.get(EXPIRY_KEY))
            state = _next_state(retry.base, values, retry.rest, expires_at)
            retry.tried(state.saved)
            data, current = runtime.records.codec.dumps(values), retry.current
            try:
                return (yield from self._replace_gen(state, data, current.token, current.latest))
            except Conflict as conflict:
                self._rebase(retry, conflict.current, applied=conflict.applied)
        raise StoreUnavailable(
            f"A session kept changing for {MAX_SECONDS:.0f} seconds, in which it could not be "
            "saved."
        )

    def _rebase(self, retry: Retry, found: Versioned | None, *, applied: bool = False) -> None:
        current = usable(self._runtime, self._seen, self._storage_id, found)
        if current is None:
            if found and found.record.is_live(self._runtime.clock.now()):
                # It could be read a moment ago.
                raise UnreadableCopy from None
            raise UpdateError from None
        retry.rebase(current, applied=applied)


def _next_state(base: State, values: dict[Any, Any], change: Change, expires_at: int) -> State:
    return next_state(
        base,
        values,
        changed=change.values.keys(),
        expires_at=expires_at,
        tag=new_tag(),
        cleared=change.cleared,
    )


def show(
    codec: Codec, shown: dict[Any, Any], state: State, seen: State, own: Collection[Stamp]
) -> None:
    """
    Bring a session dict up to what is stored, so that it shows what others changed.

    Values that this request set (its saves were stamped `own`) or that did not change stay the
    same objects, since its code may hold on to them.
    """
    for key in [key for key in shown if key not in state.values]:
        del shown[key]
    for key, stamp in state.stamps.items():
        if stamp in own or stamp == seen.stamps.get(key):
            continue
        value = state.values[key]
        # One that was only stamped anew is the same.
        if key not in shown or codec.dumps({"": shown[key]}) != codec.dumps({"": value}):
            shown[key] = value


def keep_keys_as_read(codec: Codec, values: dict[Any, Any]) -> None:
    """
    Rename the keys of a session dict to what they are once they were written and read again, such
    as text with JSON. What is compared and stamped must be what is read.

    The values stay the same objects, since the request's code may hold on to them.
    """
    objects = list(values.values())
    numbers = codec.as_read(values)
    values.clear()
    values.update((key, objects[n]) for key, n in numbers.items())
