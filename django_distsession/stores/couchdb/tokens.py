"""
The token of a record in CouchDB: the winning revision, then those of losing branches whose content
the record holds too, separated by spaces.

Who replaces the record by such a token has seen all these branches, so the losing ones can go. It
is text, because a cache in front of the store keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence

# A cache gives a token 255 bytes. Losing branches beyond that are removed at a later save.
MAX_LENGTH = 255


def join(winner: str, losers: Sequence[str] = ()) -> str:
    """
    Return a token.
    """
    token = winner
    for rev in losers:
        if len(token) + 1 + len(rev) > MAX_LENGTH:
            break
        token += f" {rev}"
    return token


def split(token: str | None) -> tuple[str | None, list[str]]:
    """
    Return the winning revision, None for a new document, and those of the losing branches.
    """
    winner, *losers = token.split(" ") if token else [None]
    return winner, [rev for rev in losers if rev]
