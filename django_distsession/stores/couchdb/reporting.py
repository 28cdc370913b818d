"""
Documents that cannot be worked with, and how to name them in logs.
"""

from __future__ import annotations

import hashlib
import logging
import re

from ...exceptions import SessionContended, StoreError, StoreUnavailable, UnreadableCopy
from .client.errors import RequestFailed

# What is said of one session or one document, while the server answers.
OF_ONE = (RequestFailed, SessionContended, UnreadableCopy)

logger = logging.getLogger("django_distsession.couchdb")

HASH = re.compile(r"[0-9a-f]{64}")


class Reporter:
    """
    Reports documents that are passed over.

    hashed: whether sessions are filed under a hash. If not, an id is a session key, which gets
    nobody who reads a log.
    """

    def __init__(self, *, hashed: bool) -> None:
        self._hashed = hashed

    def pass_over(self, doc_id: str, why: object) -> None:
        """
        Log that nothing was done about a document.
        """
        logger.warning("The document %s is passed over: %s", self.name(doc_id), why)

    def name(self, doc_id: str) -> str:
        """
        Return the id of a session's document; of any other, or if it is a key, a part of its hash.
        """
        if self._hashed and HASH.fullmatch(doc_id):
            return doc_id
        digest = hashlib.sha256(doc_id.encode("utf-8", "surrogatepass")).hexdigest()
        return f"with an id of SHA-256 {digest[:16]}…"


def is_outage(error: Exception) -> bool:
    """
    Whether an error that came up at one document says something of the server.
    """
    return isinstance(error, StoreUnavailable) and not isinstance(error, OF_ONE)


def told(error: Exception) -> str:
    """
    Return an error for the log. What is none of ours may tell what a session holds.
    """
    return str(error) if isinstance(error, StoreError) else f"{type(error).__name__}."
