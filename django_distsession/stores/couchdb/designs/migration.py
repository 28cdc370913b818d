"""
Carrying out what `planning` found, on a database that sites are using.

A new document is put beside the old one under a staging name, its index is built there, and then it
is copied over the old one: CouchDB files an index under its content, so the live name has it at
once. Everything is done by revision: whoever was faster wins, and what nobody has looked at is not
replaced. Killed between any two requests, the next run finds in the database what is left to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ....exceptions import StoreError, StoreUnavailable
from ..client import Client, DatabaseMissing, DesignMissing, DocumentMissing, RevisionConflict
from .design import Design
from .index_build import INTERVAL, IndexBuild
from .planning import Entry, Plan, State, compare, make_plan

# How often one design is tried against other runs of the command.
MAX_TRIES = 20


class Watcher:
    """
    Is told what happens. This one does not care.
    """

    def step(self, text: str) -> None:
        """
        Something begins.
        """

    def progress(self, done: int, total: int) -> None:
        """
        An index has so many documents out of so many.
        """


class MigrationRefused(StoreError):
    """
    Documents were edited by hand, or somebody forgot a version.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = list(entries)
        names = ", ".join(entry.design.name for entry in self.entries)
        super().__init__(
            f"What the database has of {names} is not what the code calls this version. Somebody "
            "edited it, or changed the code and forgot to raise the version."
        )


class Migration:
    """
    build: whether indexes are built before sites use them. force: replace what was edited, too.
    """

    def __init__(
        self,
        client: Client,
        designs: Iterable[Design],
        *,
        build: bool = True,
        force: bool = False,
        watcher: Watcher | None = None,
        interval: float = INTERVAL,
    ) -> None:
        self._client = client
        self._designs = tuple(designs)
        self._build = build
        self._force = force
        self._watcher = watcher or Watcher()
        self._interval = interval

    def plan(self) -> Plan:
        try:
            documents = self._client.design_documents()
        except DatabaseMissing:
            documents = []
        return make_plan(self._designs, documents, force=self._force)

    def run(self) -> None:
        """
        Migrate. `MigrationRefused`, with nothing changed, if something would be lost.
        """
        plan = self.plan()
        if plan.refused:
            raise MigrationRefused(plan.refused)
        for entry in plan.changes:
            self._migrate(entry.design)
        for doc_id in self.plan().leftovers:
            self._watcher.step(f"Removing the staging copy {doc_id.removeprefix('_design/')}.")
            self._remove(doc_id)
        # Even if nothing was to do: an earlier run may have come just as far as this.
        self._client.view_cleanup()

    def _migrate(self, design: Design) -> None:
        for _ in range(MAX_TRIES):
            entry = compare(design, self._get(design.doc_id))
            if entry.state is State.EDITED and not self._force:
                raise MigrationRefused([entry])
            if entry.state in (State.SAME, State.NEWER):
                self._watcher.step(f"{design.name}: another process was faster.")
                return
            try:
                self._replace(entry)
                return
            except (RevisionConflict, DesignMissing):
                # Another process has replaced the document or removed the staging copy: this is
                # the time to look whether its version is newer.
                continue
        raise StoreUnavailable(f"The design document {design.name} kept changing.")

    def _replace(self, entry: Entry) -> None:
        design = entry.design
        if not self._build:
            self._watcher.step(f"{design.name}: storing version {design.version}.")
            self._client.put(design.document(rev=entry.rev))
            return
        self._watcher.step(f"{design.name}: staging version {design.version}.")
        staged = self._stage(design)
        self._watcher.step(f"{design.name}: building the index.")
        self._index(design.staging_name, design)
        self._watcher.step(f"{design.name}: putting version {design.version} in place.")
        self._publish(design, staged, entry.rev)
        # A node that still knows the old document would build an index that is about to go.
        self._index(design.name, design)

    def _index(self, name: str, design: Design) -> None:
        IndexBuild(
            self._client, name, design.any_view, self._watcher.progress, interval=self._interval
        ).run()

    def _stage(self, design: Design) -> str:
        """
        Store the staging copy, or take over the one that a killed run left.
        """
        wanted = design.document(design.staging_name)
        for _ in range(MAX_TRIES):
            found = self._get(wanted["_id"])
            if compare(design, found).state is State.SAME and found is not None:
                return str(found["_rev"])
            try:
                rev = None if found is None else str(found["_rev"])
                return self._client.put(design.document(design.staging_name, rev)).rev
            except RevisionConflict:
                continue
        raise StoreUnavailable(f"The staging copy of {design.name} kept changing.")

    def _publish(self, design: Design, staged: str, rev: str | None) -> None:
        """
        Copy over `rev`, and over nothing else: another process may have stored a newer version
        while the index was built.
        """
        try:
            self._client.copy(f"_design/{design.staging_name}", staged, design.doc_id, rev)
        except RevisionConflict:
            raise
        except StoreError:
            # Not each server copies design documents, and a reply may be lost. This does the same,
            # or says why not.
            self._client.put(design.document(rev=rev))

    def _remove(self, doc_id: str) -> None:
        try:
            found = self._get(doc_id)
            if found is not None:
                self._client.delete(doc_id, found["_rev"])
        except (RevisionConflict, DocumentMissing):
            # Another process was faster.
            return

    def _get(self, doc_id: str) -> dict[str, Any] | None:
        try:
            return self._client.get(doc_id)
        except DocumentMissing:
            return None
