"""
System checks of CouchDB's design documents, for `check --database` and `migrate` only, like those
in `servers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, Warning, register

from .. import conf
from ..engine import current_engine, needed_sections

COMMAND = "manage.py migratedesigndocs"


@register(Tags.database)
def check_design_documents(
    app_configs: Sequence[AppConfig] | None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """
    W020 to W023: CouchDB's design documents differ from this release's, or cannot be read.
    """
    if not databases or "COUCHDB" not in needed_sections() or conf.problems():
        return []
    # Imports CouchDB's client.
    from ..backends.couchdb import CouchDBSession
    from ..exceptions import StoreError, StoreUnavailable
    from ..stores.couchdb.designs.migration import Migration

    given = conf.get().couchdb
    engine = current_engine()
    if given is None or not issubclass(engine, CouchDBSession):
        return []
    set_up = engine.make_set_up(given, engine.database_name(given))
    try:
        try:
            set_up.exists()
        except StoreUnavailable:
            # `check_servers` reports it.
            return []
        plan = Migration(set_up.admin, set_up.designs).plan()
    except StoreError as error:
        return [
            Warning(f"CouchDB's design documents cannot be checked. {error}", id="distsession.W023")
        ]
    finally:
        set_up.admin.close()
    return [
        message
        for entry in plan.entries
        if (
            message := _message(
                entry.state, entry.design.name, entry.version_found, entry.design.version, given
            )
        )
    ]


def _message(
    state: str, name: str, found: Any, wanted: int, given: conf.CouchDBSettings
) -> CheckMessage | None:
    document = f"CouchDB's design document {name!r}"
    if state == "older" or (state == "missing" and not given.create):
        there = f"has version {found}, older than" if state == "older" else "is missing, not"
        return Warning(
            f"{document} {there} this release's version {wanted}. Run {COMMAND}.",
            id="distsession.W020",
        )
    if state == "newer":
        return Warning(
            f"{document} has version {found}, newer than this release's version {wanted}: a newer "
            "release uses the same database. Deploy that one here, too.",
            id="distsession.W021",
        )
    if state == "edited":
        return Warning(
            f"{document} is not what this release calls version {wanted}. {COMMAND} shows the "
            "difference.",
            id="distsession.W022",
        )
    return None
