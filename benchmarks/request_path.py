"""
How far a request goes through the package's code: calls of its own functions, the files these are
in, the switches from one file to another, and the depth, of a warm request whose view reads and
changes one key of its session.

A process of its own, which prints a table: `python -m benchmarks.request_path`. With the name of
an engine it prints that engine's calls instead, one after the other: `… memcached`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import django
from django.conf import settings
from django.test import override_settings
from django.urls import path

import django_distsession
from benchmarks.engines.requests import PAGES, request_operations
from benchmarks.operations import Operation
from benchmarks.running import Servers, running_servers
from benchmarks.site import close_stores
from benchmarks.urls import write

PACKAGE = str(Path(django_distsession.__file__).parent)
ENGINES = ("hybrid", "memcached", "couchdb")
WARM = 5

urlpatterns = [path(PAGES[Operation.WRITE].removeprefix("/"), write)]


class Call(NamedTuple):
    """
    depth: how many calls of the package's own functions it is within, itself included.
    """

    code: CodeType
    depth: int

    @property
    def file(self) -> str:
        return str(Path(self.code.co_filename).relative_to(PACKAGE))


class Trace:
    """
    What one run of something calls of the package. A generator that goes on counts as a call.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._depth = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return
        if event == "call":
            self._depth += 1
            self.calls.append(Call(code, self._depth))
        elif event == "return":
            self._depth -= 1

    def summary(self) -> dict[str, int]:
        files = [call.file for call in self.calls]
        return {
            "calls": len(files),
            "files": len(set(files)),
            "switches": sum(one != other for one, other in pairwise(files)),
            "depth": max(call.depth for call in self.calls),
        }


def main(wanted: str | None) -> None:
    with running_servers() as servers:
        _configure(servers)
        if wanted:
            for call in _traced(wanted).calls:
                print(f"{'  ' * call.depth}{call.code.co_qualname}  ({call.file})")
            return
        print(f"{'engine':10} {'calls':>6} {'files':>6} {'switches':>9} {'depth':>6}")
        for engine in ENGINES:
            told = _traced(engine).summary()
            print(
                f"{engine:10} {told['calls']:6} {told['files']:6} {told['switches']:9} "
                f"{told['depth']:6}"
            )


def _configure(servers: Servers) -> None:
    settings.configure(
        SECRET_KEY="for-benchmarks-only-" + "0" * 40,
        ALLOWED_HOSTS=["127.0.0.1"],
        INSTALLED_APPS=["django_distsession", "django.contrib.sessions"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        DISTSESSION={
            "MEMCACHED": {"SERVERS": servers.addresses, "REPLICAS": 2},
            "COUCHDB": {"URL": servers.couchdb.url, "DATABASE": servers.database},
        },
    )
    django.setup()


def _traced(name: str) -> Trace:
    """
    Return what a request of this engine's calls, once everything is set up and connected.
    """
    engine = f"django_distsession.backends.{name}"
    with override_settings(SESSION_ENGINE=engine):
        try:
            request = _request(engine)
            for _ in range(WARM):
                request()
            trace = Trace()
            with trace.running():
                request()
            return trace
        finally:
            close_stores()


def _request(engine: str) -> Callable[[], Any]:
    middleware = "django_distsession.middleware.SessionMiddleware"
    store = import_module(engine).SessionStore
    return request_operations(engine, middleware, store)[Operation.WRITE]


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
