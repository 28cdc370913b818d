"""
couchdb3 with its traps mended: ids that are escaped, keys that are JSON, answers that are looked
at, deadlines that hold, logins that are renewed, and a handful of errors.

Nothing else in the package calls couchdb3. Every method of a client raises `StoreUnavailable` (no
answer, or not one to work with), `StoreMisconfigured` (the server refuses us), `RecordTooLarge`, or
one of the outcomes in `errors`, which callers act upon.
"""

from __future__ import annotations

from .answers import Stored
from .client import Client
from .errors import (
    AnswerUnexpected,
    DatabaseMissing,
    DesignMissing,
    DocumentMissing,
    LoginRefused,
    RequestFailed,
    RequestRefused,
    RevisionConflict,
    RightMissing,
)

__all__ = [
    "AnswerUnexpected",
    "Client",
    "DatabaseMissing",
    "DesignMissing",
    "DocumentMissing",
    "LoginRefused",
    "RequestFailed",
    "RequestRefused",
    "RevisionConflict",
    "RightMissing",
    "Stored",
]
