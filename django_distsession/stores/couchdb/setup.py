"""
What a database needs before it can hold sessions, made on first use: the database, who may use
it, and the design documents.
"""

from __future__ import annotations

from ...exceptions import StoreMisconfigured
from .client import Client, DocumentMissing, RevisionConflict
from .designs import bundled_designs


def set_up(admin: Client, member: str | None) -> None:
    """
    Create what is missing. Several processes may do so at once.

    admin: a client with the rights of a server admin. member: the user of the request path, where
        that is another one.
    """
    try:
        admin.create_database()
        if member:
            admin.put_security(
                {
                    "admins": {"names": [], "roles": ["_admin"]},
                    "members": {"names": [member], "roles": ["_admin"]},
                }
            )
        for design in bundled_designs().values():
            _create(admin, design)
    except StoreMisconfigured as error:
        raise StoreMisconfigured(
            f"The CouchDB database {admin.name!r} does not exist, and may not be created by this "
            "user: that takes a server admin. Put one into "
            'DISTSESSION["COUCHDB"]["ADMIN_URL"], or create the database by hand.'
        ) from error


def _create(admin: Client, design: dict[str, object]) -> None:
    try:
        admin.get(str(design["_id"]))
    except DocumentMissing:
        try:
            admin.put(dict(design))
        except RevisionConflict:
            # Another process was faster.
            return
