"""
What a session does while its store is away.
"""

from __future__ import annotations

import logging

from ..exceptions import StoreUnavailable

logger = logging.getLogger("django_distsession.sessions")


class MeetsOutages:
    """
    Raises `StoreUnavailable`, or goes on without the store where the middleware or a view says so.
    """

    # Set by the middleware, or by a view: after an outage this is an empty session, not saved.
    anonymous_when_unavailable = False
    # Whether this object met an outage, and what the store said.
    unavailable = False
    outage = ""

    def give_up(self) -> None:
        """
        Ask the store for nothing any more: what was not read is empty, what changes is dropped.
        """
        self.unavailable = self.anonymous_when_unavailable = True

    def _drops_changes(self) -> bool:
        return self.unavailable and self.anonymous_when_unavailable

    def _go_on_without(self, error: StoreUnavailable) -> None:
        self.unavailable = True
        self.outage = str(error)
        if not self.anonymous_when_unavailable:
            raise error
        logger.warning(
            "The store is unavailable: a request goes on without its session, and what it changes "
            "there is dropped. %s",
            error,
        )
