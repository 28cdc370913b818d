"""
A durable store behind a circuit breaker: once known to be down, it is down at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ...exceptions import StoreError, StoreUnavailable, UnreadableCopy
from .. import forking
from ..abilities import parts_of
from ..base import (
    Cleared,
    Copy,
    DurableStore,
    Found,
    Record,
    Store,
    Sweep,
    Token,
    UserSession,
)
from ..health import Health

logger = logging.getLogger("django_distsession.hybrid")

T = TypeVar("T")


class GuardedStore(DurableStore):
    """
    name: of the store, for logs and errors. retry_after: seconds until it is first asked again.
    """

    def __init__(self, store: DurableStore, *, name: str, retry_after: float) -> None:
        self._store = store
        self._name = name
        self._retry_after = retry_after
        forking.begin(self)

    def start_anew(self) -> None:
        """
        Forget how the store was doing.
        """
        # The store may have breakers of its own, one per server, whose pauses grow. If these grew
        # too, a probe here would seldom meet a probe there.
        self.health = Health(self._retry_after, longest_backoff=1)
        self._error: StoreUnavailable | None = None

    def get(self, storage_id: str) -> Found | None:
        """
        See `Store.get`.
        """
        return self._ask(lambda: self._store.get(storage_id))

    def add(self, storage_id: str, record: Record) -> Token:
        """
        See `Store.add`.
        """
        return self._ask(lambda: self._store.add(storage_id, record))

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        """
        See `Store.replace`.
        """
        return self._ask(lambda: self._store.replace(storage_id, record, token))

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        """
        See `Store.end`.
        """
        self._ask(lambda: self._store.end(storage_id, expires_at, token))

    def clear_expired(self, sweep: Sweep | None = None) -> Cleared:
        """
        See `DurableStore.clear_expired`. For commands, which ask even so.
        """
        return self._store.clear_expired(sweep)

    def for_user(self, user: str) -> list[UserSession]:
        """
        See `DurableStore.for_user`.
        """
        return self._ask(lambda: self._store.for_user(user))

    def inspect(self, storage_id: str) -> list[Copy]:
        """
        See `Store.inspect`. For people, who ask even so.
        """
        return self._store.inspect(storage_id)

    def close(self) -> None:
        """
        See `Store.close`.
        """
        self._store.close()

    def parts(self) -> Iterator[Store]:
        """
        Yield this store and the one behind it.
        """
        yield self
        yield from parts_of(self._store)

    def status(self) -> list[dict[str, Any]]:
        """
        Tell whether the store answered last time, and since when that is so.
        """
        known = self.health.status()
        return [
            {
                "store": self._name,
                "up": known.up,
                "since": known.since,
                "last_error": known.last_error,
            }
        ]

    def _ask(self, call: Callable[[], T]) -> T:
        if not self.health.admits():
            raise self._known_error()
        try:
            result = call()
        except UnreadableCopy:
            # One session's trouble.
            self._answered()
            raise
        except StoreUnavailable as error:
            self._error = error
            if self.health.failed(error):
                logger.warning(
                    "%s does not answer. It is left out until it does. %s", self._name, error
                )
            raise
        except StoreError:
            # An answer, if not the one that was hoped for.
            self._answered()
            raise
        self._answered()
        return result

    def _answered(self) -> None:
        if self.health.succeeded():
            logger.warning("%s answers again.", self._name)

    def _known_error(self) -> StoreUnavailable:
        # Of the same class, since some tell an operator what to do.
        kind = type(self._error) if self._error is not None else StoreUnavailable
        return kind(f"{self._name} is not asked at present: {self._error}")
