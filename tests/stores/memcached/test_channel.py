"""
The connection of one event loop to a real server.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from secrets import token_hex
from typing import Any

import pytest
from pymemcache.exceptions import MemcacheUnknownError

from django_distsession.backends.memcached import SessionStore
from django_distsession.exceptions import RecordTooLarge, StoreUnavailable
from django_distsession.secret import Secret
from django_distsession.stores.memcached.channel import Channel
from django_distsession.stores.memcached.protocol import parse_server
from testproject.servers import MemcachedNode

from .conftest import SOON, store_of
from .impostor import impostor

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Use = Callable[..., type[SessionStore]]


@asynccontextmanager
async def channel_to(server: str, **options: Any) -> AsyncIterator[Channel]:
    options = {"connect_timeout": SOON, "tls_context": None, "credentials": None, **options}
    channel = Channel(parse_server(server), **options)
    try:
        async with asyncio.timeout(2 * SOON):
            yield channel
    finally:
        await channel.aclose()


async def outcomes(*awaitables: Any) -> list[Any]:
    return await asyncio.gather(*awaitables, return_exceptions=True)


def test_one_connection_for_all_who_need_one_at_once(
    on_loop: Run, nodes: list[MemcachedNode]
) -> None:
    async def main() -> None:
        async with channel_to(nodes[0].address) as channel:
            found = await asyncio.gather(*(channel.acquire(SOON) for _ in range(100)))
            assert len(set(found)) == 1
            assert channel.connection is found[0]

    on_loop(main())


def test_no_request_waits_for_the_reply_to_another(
    on_loop: Run, nodes: list[MemcachedNode]
) -> None:
    async def main() -> None:
        async with channel_to(nodes[0].address) as channel:
            connection = await channel.acquire(SOON)
            assert connection._transport is not None
            raw = connection._transport.get_extra_info("socket")
            # Or else the system would hold a packet back until the one before it was answered.
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    on_loop(main())


def test_it_is_made_anew_after_a_restart(on_loop: Run, trio: list[MemcachedNode]) -> None:
    node = trio[0]

    async def main() -> None:
        async with channel_to(node.address) as channel:
            first = await channel.acquire(SOON)
            node.kill()
            await first.closed
            assert channel.connection is None
            refused = await outcomes(*(channel.acquire(SOON) for _ in range(10)))
            assert {type(one) for one in refused} == {ConnectionRefusedError}
            node.start()
            assert await channel.acquire(SOON) is not first

    on_loop(main())


def test_all_who_wait_share_the_time_out_of_a_server_that_hangs(
    on_loop: Run, trio: list[MemcachedNode]
) -> None:
    async def main() -> None:
        async with channel_to(trio[0].address, connect_timeout=0.05) as channel:
            found = await outcomes(*(channel.acquire(SOON) for _ in range(100)))
            assert {type(one) for one in found} == {TimeoutError}

    trio[0].pause()
    on_loop(main())


def test_who_gives_up_leaves_the_attempt_to_the_others(
    on_loop: Run, trio: list[MemcachedNode]
) -> None:
    node = trio[0]

    async def main() -> None:
        async with channel_to(node.address) as channel:
            tasks = [
                asyncio.create_task(channel.acquire(seconds)) for seconds in (0.01, SOON, SOON)
            ]
            with pytest.raises(TimeoutError):
                await tasks[0]
            tasks[1].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[1]
            node.resume()
            assert (await tasks[2]).error is None

    node.pause()
    on_loop(main())


def test_a_server_that_hangs_up_says_so_at_once(on_loop: Run) -> None:
    async def main() -> None:
        async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            async with channel_to(f"{host}:{port}") as channel:
                with pytest.raises((MemcacheUnknownError, ConnectionResetError)):
                    await channel.acquire(SOON)

    on_loop(main())


def test_a_server_that_is_no_memcached(on_loop: Run) -> None:
    async def main(server: str) -> None:
        async with channel_to(server) as channel:
            with pytest.raises(MemcacheUnknownError):
                await channel.acquire(SOON)

    with impostor(lambda *_: b"", settings=b"ERROR\r\n") as server:
        on_loop(main(server))


@pytest.mark.parametrize("password", ["secret", "wrong"])
def test_passwords(on_loop: Run, tmp_path: Any, password: str) -> None:
    (tmp_path / "passwords").write_text("django:secret\n")

    async def main() -> None:
        async with channel_to(node.address, credentials=Secret(("django", password))) as channel:
            if password == "wrong":
                with pytest.raises(MemcacheUnknownError, match="refused USERNAME"):
                    await channel.acquire(SOON)
            else:
                await channel.acquire(SOON)

    with MemcachedNode(["-Y", str(tmp_path / "passwords")]) as node:
        on_loop(main())


# Through sessions.


async def put(sessions: type[SessionStore], **values: Any) -> str:
    session = sessions()
    await session.aupdate(values)
    await session.asave()
    assert session.session_key is not None
    return session.session_key


def test_a_record_that_is_too_large_is_not_sent(
    on_loop: Run, use: Use, nodes: list[MemcachedNode]
) -> None:
    async def main() -> None:
        key = await put(sessions, a=1)
        session = sessions(key)
        await session.aset("b", token_hex(1_000_000))
        with pytest.raises(RecordTooLarge):
            await session.asave()
        assert dict(await sessions(key).aitems()) == {"a": 1}
        large = token_hex(400_000)
        await (again := sessions(key)).aset("b", large)
        await again.asave()
        assert await sessions(key).aget("b") == large

    sessions = use(nodes)
    on_loop(main())
    assert all(server["up"] and server["last_error"] is None for server in sessions.status())


def test_a_server_without_memory_keeps_its_connection(on_loop: Run, use: Use) -> None:
    async def main() -> list[Any]:
        return await outcomes(*(put(sessions, a=token_hex(200_000)) for _ in range(16)))

    with MemcachedNode(["-m", "2", "-M"]) as node:
        sessions = use([node])
        found = on_loop(main())
        assert any(isinstance(one, StoreUnavailable) for one in found)
        assert all(isinstance(one, str | StoreUnavailable) for one in found)
        assert store_of(sessions).nodes[0].is_up()


def test_a_store_that_is_closed_harms_no_request(
    on_loop: Run, use: Use, nodes: list[MemcachedNode]
) -> None:
    async def main() -> None:
        keys = [await put(sessions, a=number) for number in range(20)]
        reads = [asyncio.create_task(sessions(key).aget("a")) for key in keys]
        for _ in range(4):
            store_of(sessions).close()
            await asyncio.sleep(0)
        assert await asyncio.gather(*reads) == list(range(20))
        assert await sessions(keys[0]).aget("a") == 0

    sessions = use(nodes)
    on_loop(main())
    assert all(server["last_error"] is None for server in sessions.status())


def test_a_hundred_loops_one_after_the_other_leave_nothing(
    on_loop: Run, use: Use, nodes: list[MemcachedNode]
) -> None:
    sessions = use(nodes)
    key = on_loop(put(sessions, a=1))
    gc.collect()
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for _ in range(100):
            assert on_loop(sessions(key).aget("a")) == 1
        gc.collect()
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) <= before
    assert not any(node.channel._made for node in store_of(sessions).nodes)


def test_each_thread_may_have_a_loop(on_loop: Run, use: Use, nodes: list[MemcachedNode]) -> None:
    sessions = use(nodes)
    key = on_loop(put(sessions, a=1))
    both, seen = threading.Barrier(4), []

    async def main() -> None:
        await asyncio.to_thread(both.wait)
        for _ in range(20):
            seen.append(await sessions(key).aget("a"))

    threads = [threading.Thread(target=lambda: on_loop(main())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 80


def test_a_child_forked_while_a_loop_runs_makes_its_own(
    on_loop: Run, use: Use, nodes: list[MemcachedNode]
) -> None:
    async def main() -> None:
        key = await put(sessions, a=1)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                # As `multiprocessing` does: no code of the parent's loop runs here.
                thread = threading.Thread(target=partial(child, key))
                thread.start()
                thread.join()
                code = 0 if answers == [1] else 2
            finally:
                os._exit(code)
        reads = [await sessions(key).aget("a") for _ in range(20)]
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert reads == [1] * 20

    def child(key: str) -> None:
        answers.append(asyncio.run(sessions(key).aget("a")))

    answers: list[Any] = []
    sessions = use(nodes)
    on_loop(main())
