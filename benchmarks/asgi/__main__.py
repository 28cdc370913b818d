"""
Requests per second of a site under uvicorn with two workers, whose view reads or changes the
session: ours against Django's `cache` engine, in turns, and the ratio of their medians.

It brings its own servers: `python -m benchmarks.asgi`.
"""

from __future__ import annotations

import asyncio
import http.client
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.asgi.client import requests_per_second
from benchmarks.asgi.site import ENGINE, MIDDLEWARE, SERVERS
from testproject.servers import memcached_nodes
from testproject.servers.process import LOOPBACK, ServerProcess, environment

ROOT = Path(__file__).resolve().parent.parent.parent
SITES = {
    "ours": ("django_distsession.backends.memcached", "django_distsession.middleware"),
    "django": ("django.contrib.sessions.backends.cache", "django.contrib.sessions.middleware"),
}
PAGES = (b"/read", b"/change")
WORKERS = 2
VISITORS = 64
SECONDS = 3.0
ROUNDS = 5


class Uvicorn(ServerProcess):
    name = "uvicorn"

    def command(self, folder: Path) -> Sequence[str]:
        options = ["--host", LOOPBACK, "--port", str(self.port), "--workers", str(WORKERS)]
        options += ["--no-access-log", "--log-level", "warning", "--app-dir", str(ROOT)]
        application = "benchmarks.asgi.site:application"
        return [sys.executable, "-m", "uvicorn", *options, "--factory", application]

    def answers(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10.0)
        try:
            connection.request("GET", "/read")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def main() -> None:
    rates: dict[tuple[bytes, str], list[float]] = {}
    with memcached_nodes(2) as nodes, ExitStack() as stack:
        addresses = ",".join(node.address for node in nodes)
        sites = {}
        for name, (engine, middleware) in SITES.items():
            variables = {
                ENGINE: engine,
                MIDDLEWARE: f"{middleware}.SessionMiddleware",
                SERVERS: addresses,
            }
            with environment(variables):
                sites[name] = stack.enter_context(Uvicorn())
        for _ in range(ROUNDS):
            for page in PAGES:
                for name, site in sites.items():
                    rate = asyncio.run(requests_per_second(site.port, page, VISITORS, SECONDS))
                    rates.setdefault((page, name), []).append(rate)
    for page in PAGES:
        ours, djangos = (median(rates[page, name]) for name in SITES)
        print(
            f"{page.decode():8} ours {ours:6.0f}, django {djangos:6.0f} requests per second: "
            f"{ours / djangos:.2f} times as many"
        )


if __name__ == "__main__":
    main()
