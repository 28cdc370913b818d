"""
Cancel requests of an event loop at random points while servers hang, die and come back, and print
what that did. The exit status is 1 if it did harm.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any
from uuid import uuid4

from testproject.servers import MemcachedNode, memcached_nodes
from testproject.workers.operations import configure, session_class

# How long a server is away, and how long at the least all of them are there, in seconds.
AWAY, THERE = (0.1, 1.0), 0.3
OPEN_FILES = "/proc/self/fd"


@dataclass(frozen=True, slots=True)
class Options:
    """
    cancellations: that hit a request. hang_after: the seconds after which all that is left hangs.
    """

    cancellations: int = 10_000
    users: int = 64
    sessions: int = 40
    faults: bool = True
    seed: int = 1
    hang_after: float = 600.0


@dataclass(slots=True)
class Result:
    """
    wrong: loads that showed another's session, or less than what had been acknowledged.
    hung: what did not end. leaked: what was left. logged: what asyncio complained of.
    """

    cancelled: int = 0
    requests: int = 0
    faults: int = 0
    unavailable: int = 0
    wrong: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    hung: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)

    @property
    def harm(self) -> dict[str, Any]:
        kinds = ("wrong", "errors", "hung", "leaked", "logged")
        return {kind: getattr(self, kind) for kind in kinds if getattr(self, kind)}


class Site:
    """
    Users who load and save sessions, each of which knows its number, and who are cancelled.
    """

    def __init__(self, nodes: Sequence[MemcachedNode], options: Options, sessions: Any) -> None:
        self.result = Result()
        self._sessions = sessions
        self._nodes = nodes
        self._options = options
        self._random = random.Random(options.seed)
        self._keys: list[str] = []
        # By session: for each user the latest number that was acknowledged.
        self._saved: dict[int, dict[int, int]] = defaultdict(dict)
        self._running: dict[int, asyncio.Task[None]] = {}

    async def main(self) -> Result:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, about: self.result.logged.append(str(about)[:300]))
        for number in range(self._options.sessions):
            session = self._sessions()
            await session.aset("number", number)
            await session.asave()
            self._keys.append(session.session_key)
        before = open_files()
        # Cancelled from within only.
        users = [asyncio.create_task(self._use(user)) for user in range(self._options.users)]
        others = [asyncio.create_task(self._cancel())]
        if self._options.faults:
            others.append(asyncio.create_task(self._break_servers()))
        _, late = await asyncio.wait([*users, *others], timeout=self._options.hang_after)
        for task in late:
            self.result.hung.append(str(task.get_stack()))
            task.cancel()
        for task in [*users, *others]:
            with suppress(asyncio.CancelledError):
                await task
        for number in range(len(self._keys)):
            await self._look(number)
        await self._check_leaks(before)
        return self.result

    @property
    def _is_over(self) -> bool:
        return self.result.cancelled >= self._options.cancellations or bool(self.result.hung)

    async def _use(self, user: int) -> None:
        while not self._is_over:
            task = self._running[user] = asyncio.create_task(self._request(user))
            await asyncio.wait([task])
            self.result.requests += 1
            if task.cancelled():
                self.result.cancelled += 1
            elif (error := task.exception()) is not None:
                self.result.errors[repr(error)[:300]] += 1

    async def _request(self, user: int) -> None:
        from django_distsession.exceptions import StoreUnavailable

        number, turn = self._random.randrange(len(self._keys)), self.result.requests
        try:
            session = await self._look(number)
            if self._random.random() < 0.5:
                await session.aset(f"u{user}", turn)
                await session.asave()
                self._saved[number][user] = turn
        except StoreUnavailable:
            self.result.unavailable += 1

    async def _look(self, number: int) -> Any:
        saved = dict(self._saved[number])
        session = self._sessions(self._keys[number])
        seen = dict(await session.aitems())
        if seen.get("number") != number:
            self.result.wrong.append(f"{number}: {seen.get('number')}")
        behind = [user for user, turn in saved.items() if seen.get(f"u{user}", -1) < turn]
        if behind:
            self.result.wrong.append(f"{number}: users {behind} do not find what they saved")
        return session

    async def _cancel(self) -> None:
        choose = self._random
        while not self._is_over:
            if choose.random() < 0.2:
                await asyncio.sleep(choose.uniform(0, 0.005))
            for _ in range(choose.randrange(12)):
                await asyncio.sleep(0)
            for user in choose.sample(sorted(self._running), min(16, len(self._running))):
                self._running[user].cancel()
            await asyncio.sleep(0)

    async def _break_servers(self) -> None:
        # One at a time, and not the next one before what it lost is repaired.
        while not self._is_over:
            await asyncio.sleep(THERE)
            node = self._random.choice(self._nodes)
            begin, end = self._random.choice([(node.pause, node.resume), (node.kill, node.start)])
            await asyncio.to_thread(begin)
            self.result.faults += 1
            await asyncio.sleep(self._random.uniform(*AWAY))
            await asyncio.to_thread(end)
            while not all(one["up"] for one in self._sessions.status()):
                await asyncio.sleep(0.01)
            for number in range(len(self._keys)):
                await self._look(number)

    async def _check_leaks(self, before: int) -> None:
        for node in self._sessions.get_store().nodes:
            connection = node.channel.get(asyncio.get_running_loop()).connection
            if connection is None or connection._waiting or connection._queue:
                self.result.leaked.append(
                    f"{node.name} is left with {connection and vars(connection)}"
                )
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            self.result.leaked += map(str, others)
        gc.collect()
        await asyncio.sleep(0)
        if open_files() > before:
            self.result.leaked.append(f"{open_files()} open files instead of {before}")


def open_files() -> int:
    return len(os.listdir(OPEN_FILES)) if os.path.isdir(OPEN_FILES) else 0


@contextmanager
def site(options: Options) -> Iterator[Site]:
    with memcached_nodes(3) as nodes:
        servers = {"SERVERS": [node.address for node in nodes], "RETRY_AFTER": 0.1}
        configure("memcached", {"NAMESPACE": f"c{uuid4().hex}", "MEMCACHED": servers})
        yield Site(nodes, options, session_class())


def run(one: Site, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> Result:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(one.main())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cancellations", description=__doc__)
    for name, usual in asdict(Options()).items():
        if isinstance(usual, bool):
            parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=usual)
            continue
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(usual), default=usual)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    chosen = vars(parser.parse_args())
    loop = import_module(chosen.pop("loop")).new_event_loop
    options = Options(**chosen)
    with site(options) as one:
        result = run(one, loop)
    print(
        f"{options.users} users: {result.cancelled} of {result.requests} requests cancelled, "
        f"{result.faults} faults, {result.unavailable} answered with 503"
    )
    for kind, what in result.harm.items():
        print(f"{kind}: {len(what)}")
        for detail in list(what.items() if isinstance(what, Counter) else what)[:5]:
            print(f"    {detail}")
    raise SystemExit(bool(result.harm))


if __name__ == "__main__":
    main()
