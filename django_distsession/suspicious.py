"""
What must not be silent, and must not tell anything either: records that are not as we wrote them.
"""

from __future__ import annotations

import logging

# The logger on which Django itself reports session data that was tampered with.
logger = logging.getLogger("django.security.SuspiciousSession")


def report(what: str, where: str) -> None:
    """
    Log that a record was not usable and counts as no session, without its contents or its key.
    """
    logger.warning("%s in %s. It is treated as no session.", what, where)
