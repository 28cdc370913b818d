"""
The token of a record in CouchDB: the winning revision, then those of losing branches whose content
the record holds too, separated by spaces.

Who replaces the record by such a token has seen all these branches, so the losing ones can go. It
is text, because a cache in front of the store keeps it. A revision that CouchDB made holds no
space; one that came by replication may, and has it escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

# A cache gives a token 255 bytes. Losing branches beyond that are removed at a later save.
MAX_LENGTH = 255


def join(winner: str, losers: Sequence[str] = ()) -> str:
    if not losers and " " not in winner and "%" not in winner:
        return winner
    token, *rest = [rev.replace("%", "%25").replace(" ", "%20") for rev in (winner, *losers)]
    for rev in rest:
        if len(token) + 1 + len(rev) > MAX_LENGTH:
            break
        token += f" {rev}"
    return token


def split(token: str | None) -> tuple[str | None, list[str]]:
    """
    Return the winning revision, None for a new document, and those of the losing branches.
    """
    if not token:
        return None, []
    if " " not in token and "%" not in token:
        return token, []
    winner, *losers = [unquote(rev) for rev in token.split(" ")]
    return winner, losers
