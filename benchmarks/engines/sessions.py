"""
Load and save by a session engine, without a request.
"""

from __future__ import annotations

from itertools import cycle

from django.contrib.sessions.backends.base import SessionBase

from benchmarks.operations import Operation, Operations
from benchmarks.sample import READ_KEY, change, sample_session

# Several, so that all servers get their share, and no document grows a history that sessions in
# real life do not have.
SESSIONS = 30


def new_sessions(store: type[SessionBase], count: int = SESSIONS) -> list[str]:
    """
    Store some sessions and return their keys.
    """
    return [_new_session(store) for _ in range(count)]


def session_operations(store: type[SessionBase]) -> Operations:
    keys = cycle(new_sessions(store))

    def load() -> SessionBase:
        session = store(next(keys))
        # A session that could not be loaded is empty, and this a KeyError.
        session[READ_KEY]
        return session

    def load_and_save() -> None:
        session = load()
        change(session)
        session.save()

    return {Operation.LOAD: load, Operation.SAVE: load_and_save}


def _new_session(store: type[SessionBase]) -> str:
    session = store()
    session.update(sample_session())
    session.create()
    assert session.session_key
    return session.session_key
