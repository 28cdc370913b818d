"""
The demo: three memcached nodes, a CouchDB, two web processes, one session.

`python -m testproject.demo` runs until Ctrl-C or SIGTERM, and leaves no process behind. With
`--asgi` the site runs under ASGI, on uvicorn, instead of Django's development server.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import django
from django.core.management import call_command

from testproject.servers import ServerUnavailable, couchdb_server, memcached_nodes
from testproject.servers.process import LOOPBACK
from testproject.web_server import ASGIServer, WebServer

PREFERRED_PORTS = [8000, 8001]
MEMCACHED_NODES = 3
USER = PASSWORD = "demo"
DESCRIPTION = "A shop on three memcached nodes, CouchDB and two web processes."
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m testproject.demo", description=DESCRIPTION)
    parser.add_argument("--asgi", action="store_true", help="serve the site under ASGI, on uvicorn")
    options = parser.parse_args(arguments)
    for number in STOPPING:
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        try:
            web_servers = start(stack, ASGIServer if options.asgi else WebServer)
            while True:
                for web_server in web_servers:
                    web_server.ensure_running()
                time.sleep(0.5)
        except ServerUnavailable as error:
            print(f"The demo stops. {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            # Everything is being stopped now; a second Ctrl-C must not cut that short.
            for number in STOPPING:
                signal.signal(number, signal.SIG_IGN)
            print("\nStopping everything.", flush=True)
            return 0


def start(stack: ExitStack, kind: type[WebServer] = WebServer) -> list[WebServer]:
    """
    Start all servers, and register with the stack how each is stopped.
    """
    print("Starting memcached, CouchDB and two web processes.", flush=True)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="distsession-demo-"))
    nodes = stack.enter_context(memcached_nodes(MEMCACHED_NODES))
    couchdb = stack.enter_context(couchdb_server())
    ports = free_ports(PREFERRED_PORTS)

    os.environ["DJANGO_SETTINGS_MODULE"] = "testproject.settings"
    os.environ["DISTSESSION_MEMCACHED"] = ",".join(node.address for node in nodes)
    os.environ["DISTSESSION_COUCHDB_URL"] = couchdb.url
    os.environ["DISTSESSION_SECRET_KEY"] = secrets.token_urlsafe(48)
    os.environ["DISTSESSION_DEMO_DB"] = str(Path(folder) / "users.sqlite3")
    os.environ["DISTSESSION_DEMO_PORTS"] = ",".join(str(port) for port in ports)
    make_user()

    web_servers = [stack.enter_context(kind(port)) for port in ports]
    for number, web_server in enumerate(web_servers, start=1):
        print(f"  Web process {number}  {web_server.url}  (pid {web_server.pid})")
    for number, node in enumerate(nodes, start=1):
        print(f"  memcached {number}    {node.address}  (pid {node.pid})")
    print(f"  CouchDB        {couchdb.public_url}")
    print(f"Log in as {USER}, password {PASSWORD}. Ctrl-C stops everything.", flush=True)
    return web_servers


def make_user() -> None:
    django.setup()
    call_command("migrate", verbosity=0)
    # The models can be imported only now that Django is set up.
    from django.contrib.auth.models import User

    User.objects.create_user(USER, password=PASSWORD)


def free_ports(preferred: list[int]) -> list[int]:
    """
    The preferred ports where they are free, others where not.
    """
    # All stay bound until all are chosen, or one could be chosen twice.
    with ExitStack() as stack:
        candidates = [stack.enter_context(socket.socket()) for _ in preferred]
        for candidate, port in zip(candidates, preferred, strict=True):
            # As the web server will: a port that a server used a moment ago is free.
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((LOOPBACK, port))
            except OSError:
                candidate.bind((LOOPBACK, 0))
        return [candidate.getsockname()[1] for candidate in candidates]


if __name__ == "__main__":
    sys.exit(main())
