"""
What sessions and stores report to a site's observers: metrics, traces, alarms.

An observer is anything that can be called with an event. `DISTSESSION["OBSERVERS"]` names them by
their dotted paths; of a class an object is made, once per process. Events come in whatever thread
or task does the work, so an observer has to be quick, and safe to be called by several at once.
What it raises is logged once, and harms nobody. No event tells what is in a session, or its key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger("django_distsession.observers")


@dataclass(frozen=True, slots=True)
class Event:
    """
    Something that happened. store: "memcached", "couchdb", "hybrid", or whatever module an engine
    of one's own is in.
    """

    store: str


@dataclass(frozen=True, slots=True)
class OperationEnded(Event):
    """
    An operation of an engine's store is over: all that a load, a save or a logout asks of it.

    name: "get", "refresh", "add", "replace" or "end".
    outcome: "ok"; "miss" where a read found nothing; "conflict" where something else is stored than
    was expected; "too large"; "unavailable"; "interrupted"; "error" for anything else.
    seconds: what it took. size: bytes of the payload that was read or was to be written.
    error: the name of the exception's class, if there was one.
    """

    name: str
    outcome: str
    seconds: float
    size: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ExchangeEnded(Event):
    """
    A round trip with one server is over.

    server: as the settings write it, without credentials. name: "get", "set" or "delete" with
    memcached, the HTTP method with CouchDB. outcome: "ok", "refused", or "no answer".
    seconds: what it took. sent, received: bytes of the request and of the answer, headers left out.
    error: the name of the exception's class, if there was one.
    """

    server: str
    name: str
    outcome: str
    seconds: float
    sent: int
    received: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ServerDown(Event):
    """
    A server did not answer, for the first time since it last did.
    """

    server: str
    error: str


@dataclass(frozen=True, slots=True)
class ServerUp(Event):
    """
    A server that was down answers again.
    """

    server: str


@dataclass(frozen=True, slots=True)
class SaveConflicted(Event):
    """
    A save met another one, and is made again to what that one stored.
    """


@dataclass(frozen=True, slots=True)
class CopiesMerged(Event):
    """
    Differing copies of one session were merged. copies: how many.
    """

    copies: int


@dataclass(frozen=True, slots=True)
class CopyRepaired(Event):
    """
    A server was given what others had and it lacked.
    """

    server: str


@dataclass(frozen=True, slots=True)
class StaleLoad(Event):
    """
    A load met an older copy than the browser had seen (`VERSION_COOKIE`). prevented: whether a
    newer one was found after all.
    """

    prevented: bool


@dataclass(frozen=True, slots=True)
class RecordRefused(Event):
    """
    A record was not used, or not taken.

    why: "foreign", "newer format", "altered" (or it belongs elsewhere), or "too large".
    """

    why: str


@dataclass(frozen=True, slots=True)
class UnsyncedTaken(Event):
    """
    memcached took a write alone, of which CouchDB has yet to be told.
    """


@dataclass(frozen=True, slots=True)
class UnsyncedTold(Event):
    """
    CouchDB was told of what memcached had taken alone.
    """


@dataclass(frozen=True, slots=True)
class SessionSaved(Event):
    """
    A save wrote a session. how: "created", "changed", or "touched" where only its lifetime was
    extended. A save that had nothing to write is none.
    """

    how: str


Observer = Callable[[Any], object]
Tell = Callable[[Event], None]


class Observers:
    """
    A site's observers. False if there are none.
    """

    def __init__(self, observers: Sequence[Observer | type] = ()) -> None:
        self._observers: list[Observer] = [
            made() if isinstance(made, type) else made for made in observers
        ]
        self._failed: set[tuple[int, type[Event]]] = set()

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, event: Event) -> None:
        """
        Hand an event to each observer.
        """
        for number, observer in enumerate(self._observers):
            try:
                observer(event)
            except Exception:
                failed = number, type(event)
                if failed not in self._failed:
                    self._failed.add(failed)
                    logger.exception(
                        "An observer failed at %s. Its failures at others of these are not logged.",
                        type(event).__name__,
                    )
