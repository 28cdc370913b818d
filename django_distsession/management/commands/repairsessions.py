"""
`repairsessions`: repair the replicas of every session in memcached after an outage.

Reading a session repairs it; this reads those that no request reads, but for those of which a quick
look at all replicas shows that they are the same. It may run beside live traffic and beside itself,
because it writes by compare-and-swap, as a request does. After an interruption, another run does
the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import conf
from ...clock import Clock
from ...engine import current_engine, needed_sections
from ...exceptions import RecordTooLarge, StoreUnavailable
from ...stores.abilities import parts_of
from ...stores.repairing import Comparing, Replicated, Synchronizing
from ..progress import progress

DEFAULT_BATCH = 500


@dataclass(slots=True)
class Counts:
    """
    seen: keys that the servers listed, so a session once for each server that holds it.
    repaired: sessions that had a replica written. copies: the replicas that were written.
    gone: sessions that ended or expired since they were listed. incomplete: sessions with a
    replica that could not be reached. failed: sessions that could not be read, or of which CouchDB
    could not be told. synced: sessions that memcached had taken alone, of which it was told now.
    """

    seen: int = 0
    repaired: int = 0
    copies: int = 0
    gone: int = 0
    incomplete: int = 0
    failed: int = 0
    synced: int = 0


class Command(BaseCommand):
    """
    Repairs the sessions whose keys the servers list. Fails if one could not be repaired.
    """

    help = "Bring the replicas of every session in memcached together after an outage."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--server",
            action="append",
            default=[],
            metavar="HOST:PORT",
            help="Walk only the keys that this server of SERVERS holds. May be given repeatedly. "
            "Give the servers that stayed up when one comes back empty.",
        )
        parser.add_argument(
            "--rate", type=float, default=0, help="Sessions per second at the most. 0: no limit."
        )
        parser.add_argument(
            "--batch-size",
            type=int,
            default=DEFAULT_BATCH,
            help="Sessions between two looks at the clock and the rate.",
        )
        parser.add_argument(
            "--max-seconds", type=float, default=0, help="Stop after this long. 0: no limit."
        )
        parser.add_argument("--no-progress", action="store_true", help="Show no progress bar.")

    def handle(self, **options: Any) -> None:
        if options["batch_size"] < 1 or options["rate"] < 0 or options["max_seconds"] < 0:
            raise CommandError(
                "--batch-size must be 1 or more, --rate and --max-seconds 0 or more."
            )
        store, outer = _stores()
        counts, complaints = Counts(), []
        clock = current_engine().clock
        began = clock.monotonic()
        pace = Pace(options["rate"], options["max_seconds"], clock)
        with ExitStack() as lists:
            listed: dict[Any, Any] = {}
            for node in _chosen(store, options["server"]):
                try:
                    listed[node] = lists.enter_context(store.list_ids(node))
                except StoreUnavailable as error:
                    complaints.append(str(error))
            walk = Walk(store, outer, counts)
            shown = progress(
                walk.through(listed, options["batch_size"], pace),
                sum(map(len, listed.values())),
                "Sessions",
                hidden=options["no_progress"] or options["verbosity"] == 0,
            )
            try:
                for _ in shown:
                    pass
            except OutOfTime:
                complaints.append("Stopped by --max-seconds before the end; run it again.")
        self._report(counts, complaints, options["verbosity"], clock.monotonic() - began)

    def _report(
        self, counts: Counts, complaints: list[str], verbosity: int, seconds: float
    ) -> None:
        if verbosity > 0:
            self.stdout.write(
                f"{counts.seen} copies seen: {counts.repaired} sessions repaired by writing "
                f"{counts.copies} copies, {counts.gone} gone meanwhile, {counts.incomplete} with "
                f"a replica out of reach, {counts.failed} failed, {counts.synced} told to CouchDB."
            )
            if counts.seen:
                self.stdout.write(
                    f"It took {seconds:.1f} seconds: {counts.seen / seconds:,.0f} copies a second."
                )
        if counts.incomplete or counts.failed:
            complaints.append(
                "Not everything could be reached. Run repairsessions again when they are back."
            )
        if complaints:
            raise CommandError(" ".join(complaints))


class OutOfTime(Exception):
    """
    `--max-seconds` have passed.
    """


class Pace:
    """
    Limits the rate and the duration.
    """

    def __init__(
        self,
        rate: float,
        max_seconds: float,
        clock: Clock,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._started = clock.monotonic()
        self._deadline = self._started + max_seconds if max_seconds else float("inf")

    def keep(self, done: int) -> None:
        """
        Sleep until the rate allows `done` sessions. `OutOfTime` if that is past the end.
        """
        now = self._clock.monotonic()
        due = self._started + done / self._rate if self._rate else now
        if max(due, now) > self._deadline:
            raise OutOfTime
        if due > now:
            self._sleep(due - now)


def _stores() -> tuple[Replicated, Synchronizing | None]:
    if "MEMCACHED" in needed_sections():
        outer = current_engine().get_store()
        for store in parts_of(outer):
            if isinstance(store, Replicated):
                return store, outer if isinstance(outer, Synchronizing) else None
    raise CommandError(
        f'SESSION_ENGINE is "{settings.SESSION_ENGINE}", which keeps no replicas in memcached: '
        "there is nothing to repair."
    )


def _chosen(store: Replicated, names: list[str]) -> list[Any]:
    known = {node.name: node for node in store.nodes}
    for name in names:
        if name not in known:
            raise CommandError(
                f"--server {name} is not one of {conf.full_name('MEMCACHED', 'SERVERS')}: "
                f"{', '.join(known)}."
            )
    return [node for name, node in known.items() if not names or name in names]


class Walk:
    """
    Goes through what servers list, and repairs what needs it. outer: the store that has to be told
    of what `store` took alone, if there is one.
    """

    def __init__(self, store: Replicated, outer: Synchronizing | None, counts: Counts) -> None:
        self._store = store
        self._outer = outer
        self._counts = counts

    def through(self, listed: Mapping[Any, Iterable[str]], size: int, pace: Pace) -> Iterator[str]:
        """
        Yield each storage id once it has been seen to. size: how many there are to a batch, after
        each of which `pace` is kept.
        """
        gone_through: list[Any] = []
        for node, ids in listed.items():
            rest = iter(ids)
            while batch := list(islice(rest, size)):
                for storage_id in self._in_doubt(batch, node, gone_through):
                    self._repair(storage_id, node)
                self._counts.seen += len(batch)
                yield from batch
                pace.keep(self._counts.seen)
            gone_through.append(node)

    def _in_doubt(self, batch: list[str], node: Any, gone_through: list[Any]) -> Iterable[str]:
        if isinstance(self._store, Comparing):
            return self._store.differing(batch, node, gone_through)
        return batch

    def _repair(self, storage_id: str, node: Any) -> None:
        counts, outer = self._counts, self._outer
        try:
            repair = self._store.repair(storage_id, node)
            counts.synced += outer is not None and outer.sync(storage_id)
        except (StoreUnavailable, RecordTooLarge):
            counts.failed += 1
            return
        counts.repaired += bool(repair.written)
        counts.copies += repair.written
        counts.gone += not repair.found
        counts.incomplete += repair.found and bool(repair.missed)
