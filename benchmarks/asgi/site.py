"""
The site that uvicorn serves: two async views, and nothing but the session middleware around them.
Which engine and which servers, the environment says.
"""

from __future__ import annotations

import itertools
import os

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path

ENGINE, MIDDLEWARE, SERVERS = "BENCHMARK_ENGINE", "BENCHMARK_MIDDLEWARE", "BENCHMARK_SERVERS"

# As many digits in the last request as in the first.
_numbers = itertools.count(1_700_000_000_000)


def answer(text: str) -> HttpResponse:
    # Of a known length, so that uvicorn sends it in one piece.
    return HttpResponse(text, headers={"Content-Length": len(text)})


async def begin(request: HttpRequest) -> HttpResponse:
    await request.session.aupdate({f"k{number}": number * 1_000_003 for number in range(50)})
    return answer("begun")


async def read(request: HttpRequest) -> HttpResponse:
    return answer(str(await request.session.aget("k7")))


async def change(request: HttpRequest) -> HttpResponse:
    await request.session.aset("k8", next(_numbers))
    return answer("changed")


urlpatterns = [path("begin", begin), path("read", read), path("change", change)]


def application() -> ASGIHandler:
    """
    Return the application.
    """
    servers = os.environ[SERVERS].split(",")
    settings.configure(
        SECRET_KEY="for-this-benchmark-only" * 3,
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["django_distsession", "django.contrib.sessions"],
        MIDDLEWARE=[os.environ[MIDDLEWARE]],
        USE_TZ=True,
        SESSION_ENGINE=os.environ[ENGINE],
        CACHES={
            "default": {
                "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
                "LOCATION": servers,
            }
        },
        DISTSESSION={"MEMCACHED": {"SERVERS": servers, "REPLICAS": 2}},
    )
    django.setup()
    return ASGIHandler()
