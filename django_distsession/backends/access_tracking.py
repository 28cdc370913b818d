"""
Which of a session's values somebody was given, and may since have changed in place.

A save has to look for such changes, and that takes unpacking the session once more. A list that
nobody was given cannot have changed, and most requests look at few of a session's values.
"""

from __future__ import annotations

from typing import Any


class Everything:
    """
    The set of all keys.
    """

    def __contains__(self, key: Any) -> bool:
        return True

    def add(self, key: Any) -> None:
        """
        Do nothing: it is in there.
        """


EVERYTHING = Everything()

# The keys under which values were handed out.
AccessedKeys = set[Any] | Everything
