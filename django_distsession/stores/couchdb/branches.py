"""
The branches of a conflicted document, brought together.

A cluster takes concurrent saves on different nodes, and replication brings what it finds; CouchDB
then keeps every branch, shows one, and leaves the rest to us. Each branch is a copy like any other
copy of a session: merged, nothing that was acknowledged is lost, and ended beats live.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from ...exceptions import SessionContended, StoreError
from ..contract import Merge, Versioned
from ..deadline import Deadline
from ..operations import Call, Operation
from ..reconcile import reconcile
from ..record import Record
from . import tokens
from .client import Client, RequestFailed
from .client.client import portions

logger = logging.getLogger("django_distsession.couchdb")

# How many branches of one document are brought together at once. It takes a damaged or a hostile
# database to have so many; a garbage collection merges as many at a time.
MOST_BRANCHES = 1000
# How often a document is read whose branches are being merged by others.
MAX_READS = 5
# Deletions of branches in one request.
BRANCHES_AT_ONCE = 50

# Turns a document into a record; None, and reported, if it is none of ours.
Read = Callable[[dict[str, Any]], "Record | None"]


class Branches(NamedTuple):
    """
    What the branches of a document say.

    record: of all together; None where none can be read. winner: the winning revision.
    seen: the losing revisions whose content the record holds.
    leaves: the documents, each of which may say anything.
    unread: how many branches cannot be read. left: how many nobody looked at. gone: how many were
    removed in the meantime.
    """

    record: Record | None
    winner: str
    seen: list[str]
    leaves: list[dict[str, Any]]
    unread: int
    left: int
    gone: int


def branches_gen(
    client: Client,
    merge: Merge,
    read: Read,
    storage_id: str,
    document: dict[str, Any],
    deadline: Deadline | None = None,
) -> Operation[Branches]:
    """
    Bring together what all branches say of a document that was read with its conflicts, as far as
    `MOST_BRANCHES`.
    """
    conflicts: list[str] = document["_conflicts"]
    losing = conflicts[:MOST_BRANCHES]
    leaves = [document, *(yield Call(client.leaves, storage_id, losing, deadline))]
    read_leaves = [(leaf["_rev"], record) for leaf in leaves if (record := read(leaf)) is not None]
    record = reconcile(storage_id, [record for _, record in read_leaves], merge)
    winner = document["_rev"]
    return Branches(
        record,
        winner,
        [rev for rev, _ in read_leaves if record is not None and rev != winner],
        leaves,
        len(leaves) - len(read_leaves),
        len(conflicts) - len(losing),
        1 + len(losing) - len(leaves),
    )


def merged_gen(
    client: Client,
    merge: Merge,
    read: Read,
    storage_id: str,
    document: dict[str, Any],
    deadline: Deadline,
) -> Operation[Versioned | None]:
    """
    Return what all branches say together of a document that was read with its conflicts, None where
    none can be read.

    The token is the winning revision's, with those of the losing ones that could be read.
    `RequestFailed` if there are more of them than a request should read. A branch that is gone by
    the time that it is asked for was merged into a winner which is not the one that was read, so
    the document is read again; `SessionContended` if that goes on and on.
    """
    for left in reversed(range(MAX_READS)):
        if not document.get("_conflicts"):
            record = read(document)
            return None if record is None else Versioned(record, tokens.join(document["_rev"]))
        if len(document["_conflicts"]) > MOST_BRANCHES:
            raise RequestFailed(
                f"A session in CouchDB at {client.place} has more than {MOST_BRANCHES:,} "
                'conflicting branches, too many for a request. "manage.py clearsessions" merges '
                "them."
            )
        branches = yield from branches_gen(client, merge, read, storage_id, document, deadline)
        if not branches.gone:
            if branches.record is None:
                return None
            return Versioned(branches.record, tokens.join(branches.winner, branches.seen))
        if left:
            document = yield Call(client.get, storage_id, deadline, True)
    raise SessionContended("The branches of a session in CouchDB kept changing as they were read.")


def stub(storage_id: str, rev: str) -> dict[str, Any]:
    """
    Return what deletes one leaf of a document.
    """
    return {"_id": storage_id, "_rev": rev, "_deleted": True}


def remove_branches(
    client: Client, storage_id: str, revs: list[str], deadline: Deadline | None = None
) -> None:
    """
    Delete losing leaves whose content is in the winning one. What moved on meanwhile stays.

    deadline: None for a command, which waits.
    """
    for portion in portions(revs, BRANCHES_AT_ONCE):
        stubs = [stub(storage_id, rev) for rev in portion]
        client.bulk_docs(stubs, deadline, patient=deadline is None)


def try_to_remove_branches(
    client: Client, storage_id: str, revs: list[str], deadline: Deadline
) -> None:
    """
    Remove branches, or leave them: what is left is merged and removed another time.
    """
    try:
        remove_branches(client, storage_id, revs, deadline)
    except StoreError as error:
        logger.debug("Losing branches of a session stay for now: %s", error)
