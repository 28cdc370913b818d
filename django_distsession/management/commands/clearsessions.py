"""
Django's `clearsessions`. With engines whose store keeps expired sessions, such as CouchDB, it takes
options, shows its progress and tells what it did.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib.sessions.management.commands import clearsessions
from django.core.management.base import CommandError

from ...backends.base import StoreBackedSession
from ...engine import current_engine
from ...exceptions import StoreError
from ...stores.abilities import Collectable
from ...stores.garbage import BATCH_SIZE, GCOptions, GCResult
from ..progress import bar_maker

OPTIONS = ("batch_size", "limit", "max_seconds", "dry_run")


class Command(clearsessions.Command):
    """
    Removes expired sessions. Works unchanged for Django's own engines.
    """

    def add_arguments(self, parser: ArgumentParser) -> None:
        """
        Add ours.
        """
        super().add_arguments(parser)  # type: ignore[arg-type]
        ours = parser.add_argument_group("engines with CouchDB")
        ours.add_argument(
            "--batch-size",
            type=_count,
            metavar="N",
            help=f"sessions per request (default: {BATCH_SIZE})",
        )
        ours.add_argument("--limit", type=_count, metavar="N", help="remove at most N sessions")
        ours.add_argument(
            "--max-seconds", type=_count, metavar="N", help="begin nothing more after N seconds"
        )
        ours.add_argument(
            "--dry-run", action="store_true", help="tell how many sessions expired, remove none"
        )

    def handle(self, **options: Any) -> None:
        """
        Clear, and report.
        """
        engine = current_engine()
        if not _collects(engine):
            if any(options.get(name) for name in OPTIONS):
                raise CommandError(
                    f"Session engine '{settings.SESSION_ENGINE}' takes none of --batch-size, "
                    "--limit, --max-seconds and --dry-run: they are for engines whose store keeps "
                    "expired sessions, such as those with CouchDB."
                )
            return super().handle(**options)
        try:
            with _progress_bar(self._shows_progress(options)) as progress:
                cleared = engine.clear_expired(
                    GCOptions(
                        options.get("batch_size") or BATCH_SIZE,
                        options.get("limit"),
                        options.get("max_seconds"),
                        bool(options.get("dry_run")),
                        progress,
                    )
                )
        except StoreError as error:
            raise CommandError(str(error)) from error
        if options.get("verbosity", 1) > 0:
            self._report(cleared, bool(options.get("dry_run")))
        return None

    def _shows_progress(self, options: dict[str, Any]) -> bool:
        return (
            self.stderr.isatty() and options.get("verbosity", 1) > 0 and not options.get("dry_run")
        )

    def _report(self, cleared: GCResult, dry_run: bool) -> None:
        if dry_run:
            self.stdout.write(f"{cleared.seen} expired sessions would be removed.")
            return
        self.stdout.write(
            f"{cleared.seen} expired sessions seen: {cleared.purged} purged, "
            f"{cleared.deleted} deleted, {cleared.skipped} skipped."
        )
        if cleared.merged:
            self.stdout.write(f"{cleared.merged} live sessions with conflicts merged.")
        if cleared.passed_over:
            self.stdout.write(
                f"{cleared.passed_over} documents passed over: the log of "
                "django_distsession.couchdb tells which and why."
            )
        if cleared.no_purge:
            self.stdout.write(
                f"Deleted and not purged, because {cleared.no_purge}. Each deleted session leaves "
                "a stub of about 240 bytes."
            )
        if cleared.purged or cleared.deleted:
            self.stdout.write(
                "The space on disk is given back when CouchDB next compacts the database: by "
                "itself, once half of a file is unused, or at once by POST /{database}/_compact."
            )


@contextmanager
def _progress_bar(wanted: bool) -> Iterator[Callable[[GCResult], None] | None]:
    make_bar = bar_maker() if wanted else None
    if make_bar is None:
        yield None
        return
    with make_bar(unit=" sessions") as bar:

        def progress(cleared: GCResult) -> None:
            bar.total = max(cleared.total, cleared.seen)
            bar.update(cleared.seen - bar.n)

        yield progress


def _collects(engine: type[Any]) -> bool:
    return issubclass(engine, StoreBackedSession) and isinstance(engine.get_store(), Collectable)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError("a whole number, 1 or more")
    return int(text)
