"""
Doing without the cache.
"""

from __future__ import annotations

import logging

from ...exceptions import StoreUnavailable, UnreadableCopy

logger = logging.getLogger("django_distsession.hybrid")


def pass_by_cache(error: StoreUnavailable) -> None:
    """
    Note that a request does without the cache. Its servers' own logs tell when that began.

    Not where the cache answered with something newer than this process can read.
    """
    if isinstance(error, UnreadableCopy):
        raise error
    logger.debug("The cache is passed by: %s", error)
