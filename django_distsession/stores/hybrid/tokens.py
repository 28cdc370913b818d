"""
The token of a record that lives in two stores.
"""

from __future__ import annotations

from typing import NamedTuple

from ..contract import Token, Versioned


class Tokens(NamedTuple):
    """
    What each of the two stores needs to compare and swap; None where that is not known.

    Each belongs to a record whose every change is in the record that the pair comes with, though
    not always to the same one. So who replaces by them overwrites nothing unseen.
    """

    durable: Token
    cache: Token


def from_cache(cached: Versioned) -> Versioned:
    """
    Return what the cache holds as a record of both stores.
    """
    return Versioned(cached.record, Tokens(cached.record.source_rev or None, cached.token))


def from_durable(durable: Versioned | None) -> Versioned | None:
    """
    Return what the durable store holds as a record of both stores.
    """
    return durable and Versioned(durable.record, Tokens(durable.token, None))
