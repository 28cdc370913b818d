"""
Under ASGI: natively, on threads of our own, and cancelled at any moment.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory

from django_distsession.middleware import SessionMiddleware
from django_distsession.stores.threads import MAX_THREADS
from testproject.servers import MemcachedNode, memcached_nodes

from ..conftest import engine_class, stored
from ..sessions import Engine, contents, interposed

View = Callable[[HttpRequest], Awaitable[HttpResponse]]

REQUESTS = 1000
PATIENCE = 30.0


def request_with(key: str) -> HttpRequest:
    request = AsyncRequestFactory().get("/")
    request.COOKIES["sessionid"] = key
    return request


async def read(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await request.session.aget("a")))


async def write(request: HttpRequest) -> HttpResponse:
    await request.session.aset("b", 1)
    return HttpResponse("ok")


def test_it_is_sync_and_async() -> None:
    assert SessionMiddleware.sync_capable
    assert SessionMiddleware.async_capable
    assert iscoroutinefunction(SessionMiddleware(read))
    assert not iscoroutinefunction(SessionMiddleware(lambda request: HttpResponse()))


def test_sessions_are_loaded_and_saved_on_threads_of_our_own(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stored(session_class, a=1)
    store = interposed(session_class)
    names: dict[str, str] = {}

    def watch(name: str) -> None:
        method = getattr(store, name)

        def watched(*args: Any) -> Any:
            names[name] = threading.current_thread().name
            return method(*args)

        monkeypatch.setattr(store, name, watched)

    watch("get")
    watch("replace")
    response = async_to_sync(SessionMiddleware(write))(request_with(key))  # type: ignore
    assert response.cookies["sessionid"].value == key
    assert set(names) == {"get", "replace"}
    assert all(name.startswith("distsession") for name in names.values())
    assert contents(session_class, key) == {"a": 1, "b": 1}


def test_a_thousand_requests_on_a_slow_store_do_not_queue_behind_one_thread(
    session_class: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stored(session_class, a=1)
    store = interposed(session_class)
    found = store.get(session_class.storage_id(key) or "")
    # Nobody gets on before this many wait at the same time: one thread would wait for ever.
    together = threading.Barrier(MAX_THREADS)
    first = threading.local()

    def slow(storage_id: str) -> Any:
        if not hasattr(first, "waited"):
            first.waited = True
            together.wait(PATIENCE)
        return found

    monkeypatch.setattr(store, "get", slow)

    async def scenario() -> list[Any]:
        middleware: Any = SessionMiddleware(read)
        return await asyncio.gather(*(middleware(request_with(key)) for _ in range(REQUESTS)))

    responses = async_to_sync(scenario)()
    assert [response.content for response in responses] == [b"1"] * REQUESTS


class TestCancelled:
    @pytest.fixture
    def node(self) -> Iterator[MemcachedNode]:
        with memcached_nodes(1) as (running,):
            yield running

    @pytest.fixture
    def session_class(
        self, settings: Any, distsession: Any, node: MemcachedNode, configure: Any
    ) -> Engine:
        configure(MEMCACHED={"SERVERS": [node.address], "TIMEOUT": PATIENCE, "POOL_SIZE": 2})
        return engine_class(settings, "memcached")

    @pytest.mark.parametrize("view", [read, write])
    def test_a_request_that_is_cancelled_leaves_no_half_used_connection(
        self,
        session_class: Engine,
        node: MemcachedNode,
        monkeypatch: pytest.MonkeyPatch,
        view: View,
    ) -> None:
        keys = [stored(session_class, a=number) for number in range(4)]
        store = interposed(session_class)
        asked, answered = threading.Semaphore(0), threading.Semaphore(0)
        get = store.get

        def watched(storage_id: str) -> Any:
            asked.release()
            try:
                return get(storage_id)
            finally:
                answered.release()

        monkeypatch.setattr(store, "get", watched)

        async def scenario() -> None:
            middleware: Any = SessionMiddleware(view)
            loop = asyncio.get_running_loop()
            node.pause()
            # Two wait for the server, the others for a connection.
            tasks = [asyncio.create_task(middleware(request_with(key))) for key in keys]
            for _ in keys:
                assert await loop.run_in_executor(None, asked.acquire, True, PATIENCE)
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
            node.resume()
            for _ in keys:
                assert await loop.run_in_executor(None, answered.acquire, True, PATIENCE)
            ask = SessionMiddleware(read)
            for number, key in enumerate(keys):
                response: Any = await ask(request_with(key))  # type: ignore
                assert response.content == str(number).encode()

        async_to_sync(scenario)()
        memcached: Any = session_class.get_store()
        pool = memcached.nodes[0].pool
        assert not pool.busy
        assert len(pool._idle) <= 2
        assert all(connection.is_fresh for connection in pool._idle)
