"""
200 concurrent async requests on a store that answers in 20 ms, against one thread that waits for
each in turn. Wanted: at least 20 times its throughput.

Through Django's whole middleware chain, but not through `ASGIHandler`, which starts a thread for
each request, and so measures itself.

A process of its own, since it brings its own settings: `python -m benchmarks.async_throughput`.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from importlib import import_module
from typing import Any

import django
from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory
from django.urls import path

from django_distsession.stores.operations import Operation, Pause
from testproject.servers import memcached_nodes

REQUESTS = 200
ANSWER_TIME = 0.02
ROUNDS = 7
ENGINE = "django_distsession.backends.memcached"


async def read(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await request.session.aget("a")))


urlpatterns = [path("", read)]


def main() -> None:
    with memcached_nodes(1) as (node,):
        settings.configure(
            SECRET_KEY="for-this-benchmark-only" * 3,
            ALLOWED_HOSTS=["*"],
            ROOT_URLCONF=__name__,
            SESSION_ENGINE=ENGINE,
            MIDDLEWARE=["django_distsession.middleware.SessionMiddleware"],
            DISTSESSION={"MEMCACHED": {"SERVERS": [node.address]}},
        )
        django.setup()
        print(f"{measure():.1f} times a single-threaded wait")


def measure() -> float:
    sessions: Any = import_module(ENGINE).SessionStore
    session = sessions()
    session["a"] = 1
    session.save()
    operations = sessions.runtime.operations
    get_gen = operations.get_gen

    def slow_gen(storage_id: str) -> Operation[Any]:
        yield Pause(ANSWER_TIME)
        return (yield from get_gen(storage_id))

    operations.get_gen = slow_gen
    handler = BaseHandler()
    handler.load_middleware(is_async=True)
    requests = AsyncRequestFactory()

    async def request() -> bool:
        asked = requests.get("/")
        asked.COOKIES["sessionid"] = session.session_key
        response: Any = await handler.get_response_async(asked)
        return bool(response.content == b"1")

    async def volley() -> float:
        began = time.perf_counter()
        assert all(await asyncio.gather(*(request() for _ in range(REQUESTS))))
        return time.perf_counter() - began

    async def scenario() -> list[float]:
        await volley()
        return [await volley() for _ in range(ROUNDS)]

    times = asyncio.run(scenario())
    print("seconds:", *(f"{took:.3f}" for took in times), file=sys.stderr)
    return REQUESTS * ANSWER_TIME / statistics.median(times)


if __name__ == "__main__":
    main()
