"""
How a session gets its key, and a new one.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from django.contrib.sessions.backends.base import CreateError

from ..exceptions import StoreUnavailable
from ..stores.operations import Operation
from .overriding import CallMethod

if TYPE_CHECKING:
    from .base import StoreBackedSession

# No key that is made up was ever taken.
MOST_KEYS = 8


def create_gen(session: StoreBackedSession) -> Operation[None]:
    """
    Store a session as a new one, under a new key.
    """
    before = session.session_key
    for attempt in itertools.count(1):
        try:
            session._session_key = yield CallMethod(
                session._get_new_session_key, session._aget_new_session_key
            )
            yield CallMethod(session.save, session.asave, True)
        except CreateError:
            if attempt < MOST_KEYS:
                continue
            session._session_key = before
            raise StoreUnavailable(
                f"Each of {MOST_KEYS} new session keys was taken, says the store."
            ) from None
        except BaseException:
            # What was loaded belongs to the key that it was loaded by.
            session._session_key = before
            raise
        if session.unavailable and session.anonymous_when_unavailable:
            session._session_key = before
        session.modified = True
        return


def cycle_key_gen(session: StoreBackedSession) -> Operation[None]:
    """
    Go on under a new key, and end the session under the old one.
    """
    values = yield CallMethod(session.load_session, session.aload_session)
    old_key = session.session_key
    yield CallMethod(session.create, session.acreate)
    session._session_cache = values
    if old_key and not (session.unavailable and session.anonymous_when_unavailable):
        yield CallMethod(session.delete, session.adelete, old_key)
