"""
Brings the design documents of a CouchDB database to what this release wants, while sites use it.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ... import conf
from ...backends.couchdb import CouchDBSession
from ...conf import rules
from ...engine import current_engine
from ...exceptions import StoreError
from ...stores.couchdb.designs import forgotten_versions
from ...stores.couchdb.designs.migration import Migration, MigrationRefused, Watcher
from ...stores.couchdb.designs.planning import Entry, Plan, State
from ...stores.couchdb.designs.setup import SetUp
from ..watchers import watching


class Command(BaseCommand):
    """
    Run it in each release, before the new code serves requests. It may be killed and run again.
    """

    help = (
        "Creates CouchDB's design documents, or replaces older ones: beside the old one, with the "
        "new index built before anybody uses it. Newer ones are left alone."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """
        Add the options.
        """
        parser.add_argument(
            "--check",
            action="store_true",
            help="change nothing; exit with status 1 if there is anything to do",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="change nothing; tell what there is to do"
        )
        parser.add_argument(
            "--no-build",
            action="store_true",
            help="replace at once, and leave the index to whoever asks for it first",
        )
        parser.add_argument(
            "--force", action="store_true", help="replace documents that were edited by hand, too"
        )
        parser.add_argument(
            "--database", metavar="NAME", help="another database than that of the settings"
        )

    def handle(self, **options: Any) -> None:
        """
        Plan, and carry out.
        """
        set_up = self._set_up(options.get("database"))
        try:
            self._migrate(set_up, options)
        except MigrationRefused as error:
            raise CommandError(self._refusal(error.entries, str(error))) from error
        except StoreError as error:
            raise CommandError(str(error)) from error
        finally:
            set_up.admin.close()

    def _set_up(self, database: str | None) -> SetUp:
        engine = current_engine()
        given = conf.get().couchdb
        if not issubclass(engine, CouchDBSession) or given is None:
            raise CommandError(
                f"Session engine '{settings.SESSION_ENGINE}' has no design documents: they are "
                "for engines with CouchDB."
            )
        if database is not None and not rules.is_database_name(database):
            raise CommandError(
                f"{database!r} is no name of a CouchDB database. "
                f'Did you mean "{rules.suggest_database_name(database)}"?'
            )
        set_up: SetUp = engine.make_set_up(given, database or engine.database_name(given))
        return set_up

    def _migrate(self, set_up: SetUp, options: dict[str, Any]) -> None:
        quiet = options.get("verbosity", 1) < 1
        force = bool(options.get("force"))
        build = not options.get("no_build")
        changes_nothing = options.get("check") or options.get("dry_run")
        forgotten = forgotten_versions(set_up.designs)
        if forgotten and not force:
            raise CommandError("\n".join(forgotten))
        terminal = not quiet and self.stderr.isatty()
        with watching(self.stdout.write, terminal=terminal) as shown, set_up.explained():
            watcher = Watcher() if quiet else shown
            migration = Migration(
                set_up.admin, set_up.designs, build=build, force=force, watcher=watcher
            )
            plan = migration.plan()
            if not quiet:
                self._show(plan, build, database_missing=not set_up.exists(), of=set_up)
            if not changes_nothing:
                set_up.prepare_database()
                migration.run()
        if changes_nothing and plan.refused:
            self.stderr.write(self._refusal(plan.refused, str(MigrationRefused(plan.refused))))
        if options.get("check") and not plan.is_done:
            sys.exit(1)
        if not quiet and not changes_nothing:
            self.stdout.write("The design documents are what this release wants.")

    def _show(self, plan: Plan, build: bool, *, database_missing: bool, of: SetUp) -> None:
        if database_missing:
            self.stdout.write(f"Database {of.admin.name}: missing; will be created")
        for line in _lines(plan, build):
            self.stdout.write(line)

    def _refusal(self, entries: list[Entry], why: str) -> str:
        diffs = "\n\n".join(entry.diff for entry in entries)
        return (
            f"{diffs}\n\n{why} Nothing of it was changed. If the database may lose what it has, "
            "run the command again with --force."
        )


def _lines(plan: Plan, build: bool) -> Iterator[str]:
    """
    Yield the plan, a line for each document.
    """
    how = "staged, indexed and put in place" if build else "put in place, its index not built"
    for entry in plan.entries:
        wanted, found = entry.design.version, entry.version_found
        told = {
            State.MISSING: f"missing; version {wanted} will be {how}",
            State.SAME: f"version {wanted}, nothing to do",
            State.OLDER: f"version {found}; version {wanted} will be {how}",
            State.NEWER: f"version {found} is newer than this release's {wanted}; left alone",
            State.EDITED: f"not what this release calls version {wanted}; "
            + (f"will be replaced: {how}" if plan.force else "refused"),
        }
        yield f"{entry.design.name}: {told[entry.state]}"
    taken_over = {f"_design/{entry.design.staging_name}" for entry in plan.changes if build}
    for doc_id in plan.leftovers:
        name = doc_id.removeprefix("_design/")
        yield f"{name}: a staging copy; will be " + (
            "taken over" if doc_id in taken_over else "removed"
        )
    for doc_id in plan.newer_staged:
        yield f"{doc_id.removeprefix('_design/')}: a newer release's staging copy; left alone"
