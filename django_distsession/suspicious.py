"""
The security log: records that were altered or damaged, reported without their contents.
"""

from __future__ import annotations

import logging

# Django's own, for session data that was tampered with.
logger = logging.getLogger("django.security.SuspiciousSession")


def report(what: str, where: str) -> None:
    """
    Log that a record is unusable and counts as no session.
    """
    logger.warning("%s in %s. It is treated as no session.", what, where)
