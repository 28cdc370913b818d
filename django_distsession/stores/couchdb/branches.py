"""
The branches of a conflicted document, brought together.

A cluster takes concurrent saves on different nodes, and replication brings what it finds; CouchDB
then keeps every branch, shows one, and leaves the rest to us. Each branch is a copy like any other
copy of a session: merged, nothing that was acknowledged is lost, and ended beats live.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ...exceptions import StoreError
from ..base import Found, Merge, Record
from . import tokens
from .client import Client

logger = logging.getLogger("django_distsession.couchdb")

# Turns a document into a record; None, and reported, if it is none of ours.
Read = Callable[[dict[str, Any]], "Record | None"]


def merge_branches(
    client: Client, merge: Merge, read: Read, storage_id: str, document: dict[str, Any]
) -> Found | None:
    """
    Return what all branches together say, for a document that was read with its conflicts.

    The token is the winning revision's, with those of the losing ones that could be read.
    """
    losing = client.leaves(storage_id, document["_conflicts"])
    winner, losers = read(document), [(leaf["_rev"], read(leaf)) for leaf in losing]
    records = [record for record in (winner, *(one for _, one in losers)) if record is not None]
    record = _merged(merge, storage_id, records)
    if record is None:
        return None
    seen = [rev for rev, one in losers if one is not None]
    return Found(record, tokens.join(document["_rev"], seen))


def _merged(merge: Merge, storage_id: str, records: list[Record]) -> Record | None:
    ended = [record for record in records if record.ended]
    if ended:
        return max(ended, key=lambda record: record.expires_at)
    if len({record.version for record in records}) == 1:
        return records[0]
    return merge(storage_id, records) if records else None


def remove_branches(client: Client, storage_id: str, revs: list[str]) -> None:
    """
    Delete losing leaves whose content is in the winning one. What moved on meanwhile stays.

    It may fail: what is left is merged and removed another time.
    """
    stubs = [{"_id": storage_id, "_rev": rev, "_deleted": True} for rev in revs]
    try:
        client.bulk_docs(stubs)
    except StoreError as error:
        logger.debug("Losing branches of a session stay for now: %s", error)
