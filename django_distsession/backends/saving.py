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
from ..observing import SaveConflicted, SessionSaved
from ..stamps import Stamp
from ..state import State, first_state, new_tag, next_state
from ..stores.backoff import delay
from ..stores.contract import Conflict, Token, Versioned
from ..stores.operations import Operation, Pause
from ..stores.record import Record
from .access_tracking import EVERYTHING
from .changes import NO_CHANGE, Change, find_change
from .expiry import EXPIRY_KEY, is_touch_due
from .loading import Loaded, read_gen, usable
from .overriding import CallMethod
from .queueing import Ticket
from .retrying import Retry
from .runtime import report

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
    if session.unavailable and session.anonymous_when_unavailable:
        return
    session_key = session.session_key
    if session_key is None:
        yield CallMethod(session.create, session.acreate)
        return
    storage_id = session.runtime.storage_id(session_key)
    if storage_id is None:
        raise CreateError if must_create else UpdateError
    codec, values = session.runtime.records.codec, session._session_cache
    data = codec.dumps(values)
    if not TEXT_ONLY.issuperset(map(type, values)):
        # What was handed out under a key is under another one now.
        session.accessed_keys = EVERYTHING
        _rename_as_read(codec, values)
        data = codec.dumps(values)
    write_gen = _insert_gen if must_create else _update_gen
    try:
        stored = yield from write_gen(session, storage_id, data)
    except StoreUnavailable as error:
        session.go_on_without(error)
        return
    if stored is not session.loaded:
        session.written = (storage_id, stored.record.version.generation)
    session.loaded, session.was_cleared = stored, False


def _rename_as_read(codec: Codec, values: dict[Any, Any]) -> None:
    """
    Rename the keys of a session dict to what they are once they were written and read again, such
    as text with JSON. What is compared and stamped must be what is read.

    The values stay the same objects, since the request's code may hold on to them.
    """
    objects = list(values.values())
    numbers = codec.as_read(values)
    values.clear()
    values.update((key, objects[n]) for key, n in numbers.items())


# A new session. What is saved is the session dict; `data` is what it is serialised to.


def _insert_gen(session: StoreBackedSession, storage_id: str, data: bytes) -> Operation[Loaded]:
    runtime, state = session.runtime, _first_state(session)
    record = runtime.records.encode(storage_id, state, data)
    try:
        token = yield from runtime.operations.add_gen(storage_id, record)
    except Conflict as conflict:
        found = conflict.current
    else:
        report(runtime, SessionSaved, "created")
        return session.seen.remember(storage_id, record, token, state, data)
    if found is None or found.record.ended or found.record.is_live(runtime.clock.now()):
        raise CreateError
    # One that has expired makes room.
    state, latest = _first_state(session, found.record), found.record.retention_deadline
    try:
        stored = yield from _replace_gen(session, storage_id, state, data, found.token, latest)
    except Conflict:
        raise CreateError from None
    report(runtime, SessionSaved, "created")
    return stored


def _first_state(session: StoreBackedSession, expired: Record | None = None) -> State:
    values = dict(session._session_cache)
    return first_state(
        values,
        created_at=int(session.runtime.clock.now()),
        expires_at=session.expires_at(values.get(EXPIRY_KEY)),
        tag=new_tag(),
        after=expired.version.generation if expired else 0,
    )


# A session that was loaded.


def _update_gen(session: StoreBackedSession, storage_id: str, data: bytes) -> Operation[Loaded]:
    """
    Return what is stored now: what was loaded if there is nothing to write.
    """
    runtime, values, loaded = session.runtime, session._session_cache, session.loaded
    if loaded is None:
        # A session that was cleared and refilled was never read.
        found = yield from read_gen(session, storage_id)
        loaded = session.loaded = usable(session, storage_id, found)
        if loaded is None:
            raise UpdateError
    if session.was_cleared:
        change = Change(dict(values), (), cleared=True)
    else:
        change = find_change(runtime.records.codec, loaded, values, data, session.accessed_keys)
    expires_at = session.expires_at(values.get(EXPIRY_KEY))
    if change is NO_CHANGE and not is_touch_due(runtime, loaded.state.expires_at, expires_at):
        return loaded
    if storage_id not in runtime.queues.last:
        # A copy: what the session was serialised to, object by object.
        state = _next_state(loaded.state, dict(values), change, expires_at)
        try:
            stored = yield from _replace_gen(
                session, storage_id, state, data, loaded.token, loaded.latest
            )
            if runtime.tell:
                report(runtime, SessionSaved, "touched" if change is NO_CHANGE else "changed")
            return stored
        except Conflict as conflict:
            report(runtime, SaveConflicted)
            retry = Retry(loaded, change)
            retry.tried(state.saved)
            _rebase(session, storage_id, retry, conflict.current, applied=conflict.applied)
    else:
        retry = Retry(loaded, change)
    stored = yield from _replace_in_turn_gen(session, storage_id, retry)
    report(runtime, SessionSaved, "touched" if change is NO_CHANGE else "changed")
    _show(runtime.records.codec, values, stored.state, loaded.state, retry.own)
    return stored


def _replace_gen(
    session: StoreBackedSession,
    storage_id: str,
    state: State,
    data: bytes,
    token: Token,
    latest: int,
) -> Operation[Loaded]:
    """
    Write a state in place of what came with `token`, to be held until `latest` at least.
    """
    runtime = session.runtime
    record = runtime.records.encode(storage_id, state, data).retained_until(latest)
    token = yield from runtime.operations.replace_gen(storage_id, record, token)
    return session.seen.remember(storage_id, record, token, state, data)


# A session that others save at the same time.


def _replace_in_turn_gen(
    session: StoreBackedSession, storage_id: str, retry: Retry
) -> Operation[Loaded]:
    """
    Wait for the saves of this process that came before, and go on from what they stored.
    """
    clock, queues = session.runtime.clock, session.runtime.queues
    deadline = clock.monotonic() + MAX_SECONDS
    ticket = Ticket(storage_id, clock)
    try:
        queues.join(ticket)
        found = yield from ticket.wait_gen(deadline)
        if found is not None and found.record.version > retry.current.record.version:
            current = usable(session, storage_id, found)
            if current is not None:
                retry.rebase(current)
        stored = yield from _replace_again_gen(session, storage_id, retry, deadline)
        ticket.stored = Versioned(stored.record, stored.token)
        return stored
    finally:
        queues.leave(ticket)


def _replace_again_gen(
    session: StoreBackedSession, storage_id: str, retry: Retry, deadline: float
) -> Operation[Loaded]:
    runtime = session.runtime
    for attempt in itertools.count():
        if runtime.clock.monotonic() > deadline:
            break
        if attempt > 1:
            # What the last conflict told is old by then.
            yield Pause(delay(attempt))
            found = yield from runtime.operations.get_gen(storage_id)
            _rebase(session, storage_id, retry, found)
        values, current = retry.rest.apply(retry.base.values), retry.current
        # Others may have set another expiry.
        expires_at = session.expires_at(values.get(EXPIRY_KEY))
        state = _next_state(retry.base, values, retry.rest, expires_at)
        retry.tried(state.saved)
        data = runtime.records.codec.dumps(values)
        try:
            return (
                yield from _replace_gen(
                    session, storage_id, state, data, current.token, current.latest
                )
            )
        except Conflict as conflict:
            report(runtime, SaveConflicted)
            _rebase(session, storage_id, retry, conflict.current, applied=conflict.applied)
    raise StoreUnavailable(
        f"A session kept changing for {MAX_SECONDS:.0f} seconds, in which it could not be saved."
    )


def _rebase(
    session: StoreBackedSession,
    storage_id: str,
    retry: Retry,
    found: Versioned | None,
    *,
    applied: bool = False,
) -> None:
    current = usable(session, storage_id, found)
    if current is None:
        if found and found.record.is_live(session.runtime.clock.now()):
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


def _show(
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
