"""
The errors that users of the package may meet. Neither Django nor a store is imported here.
"""

from __future__ import annotations


class StoreError(Exception):
    """
    Base of everything that a store raises on purpose.
    """


class StoreUnavailable(StoreError):
    """
    The store could not be reached, or too few of its servers answered.

    It says nothing about whether the session exists, so nobody may be logged out because of it,
    and nothing about whether a write took place, which may be repeated.
    """


class SessionContended(StoreUnavailable):
    """
    Concurrent saves kept changing a session until the deadline. The servers answer, and other
    sessions are not affected.
    """


class StoreMisconfigured(StoreUnavailable):
    """
    The store answered, but a right, a database or the right password is missing.

    Retrying does not help; the message says what an operator has to do.
    """


class UnreadableCopy(StoreMisconfigured):
    """
    This process cannot read the newest copy of a session, though it can read an older one.

    Most likely another process uses a `SECRET_KEY` or `CODEC` that this one does not know yet.
    What that process wrote is left alone.
    """

    def __init__(
        self,
        message: str = "A session was last saved under a SECRET_KEY or with a CODEC that this "
        "process does not know yet, so it cannot be read here, and is left alone. Restart this "
        "process with the new settings. To change SECRET_KEY, first add the new key to "
        "SECRET_KEY_FALLBACKS everywhere.",
    ) -> None:
        super().__init__(message)


class RecordTooLarge(StoreError):
    """
    A session is larger than the store takes. The session stored before is untouched.
    """

    def __init__(self, size: int, limit: int | None, store: str) -> None:
        self.size = size
        self.limit = limit
        at_most = "its limit" if limit is None else f"its limit of {limit:,} bytes"
        super().__init__(
            f"A session of {size:,} bytes is larger than {store} takes ({at_most}). "
            "Keep large data elsewhere and its id in the session, or raise the server's limit."
        )
