"""
Ending a session against whoever saves it meanwhile.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from ...clock import Clock
from ...exceptions import SessionContended
from ..backoff import delay
from ..contract import Conflict, Token, Versioned
from ..deadline import Deadline
from ..operations import Operation, Pause
from ..record import Record

# For so many seconds it is tried; each save that came first was made within milliseconds.
END_SECONDS = 10.0
LONGEST_PAUSE = 0.02


def end_gen(
    tombstone: Record,
    token: Token,
    *,
    read: Callable[[], Operation[Versioned | None]],
    put: Callable[[Record, Token], Operation[Token]],
    clock: Clock,
) -> Operation[Record | None]:
    """
    Put a tombstone in the place of whatever is stored, and return the one that is there then. None
    where nothing is stored: there is nothing to end.

    token: of the revision to be replaced, where the caller has one. read, put: each an operation of
    its own, with its own deadline. `SessionContended` if it cannot be done.
    """
    limit = Deadline(END_SECONDS, clock.monotonic)
    found = None if token else (yield from read())
    for attempt in itertools.count():
        if token is None:
            if found is None:
                return None
            if found.record.ended:
                return found.record
            token = found.token
        try:
            yield from put(tombstone, token)
            return tombstone
        except Conflict as conflict:
            found, token = conflict.current, None
        if limit.left <= 0:
            break
        if attempt:
            yield Pause(delay(attempt, longest=LONGEST_PAUSE))
            # Whoever took a turn meanwhile has moved the revision on.
            found = yield from read()
    raise SessionContended(
        f"A session in CouchDB kept changing for {END_SECONDS:.0f} seconds, in which it could not "
        "be ended."
    )
