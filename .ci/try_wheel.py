"""
Run one session through the installed package, in an environment that holds nothing else.

    python -I try_wheel.py CHECKOUT

Fails where the package comes from the checkout, so that what is missing in the wheel shows.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path

import django
from django.conf import settings

import django_distsession

START_TIMEOUT = 30.0


def main(checkout: Path) -> None:
    installed = Path(django_distsession.__file__).resolve()
    assert "site-packages" in installed.parts, installed
    assert checkout not in installed.parents or ".tox" in installed.parts, installed
    assert metadata.version("django-distsession") == django_distsession.__version__
    for needed in ("py.typed", "stores/couchdb/designs/bundled"):
        assert (installed.parent / needed).exists(), needed
    with memcached() as address:
        settings.configure(
            SECRET_KEY="for-this-check-only" * 3,
            INSTALLED_APPS=["django_distsession"],
            SESSION_ENGINE="django_distsession.backends.memcached",
            DISTSESSION={"MEMCACHED": {"SERVERS": [address]}},
        )
        django.setup()
        run_session()
    print(
        f"django-distsession {django_distsession.__version__}: a session came back from memcached."
    )


def run_session() -> None:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    session = store()
    session["colour"] = "blue"
    session.save()
    again = store(session.session_key)
    assert again["colour"] == "blue", dict(again)
    again.delete()
    assert not store(session.session_key).exists(session.session_key)
    assert "colour" not in store(session.session_key)


@contextmanager
def memcached() -> Iterator[str]:
    # Not `testproject.servers`: that would bring the checkout onto the import path.
    program = shutil.which("memcached")
    assert program, "memcached is not installed"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "-l", "127.0.0.1", "-p", str(port), "-u", "root"]
    with subprocess.Popen(command) as process:
        try:
            deadline = time.monotonic() + START_TIMEOUT
            while not answers(port):
                assert process.poll() is None, "memcached ended"
                assert time.monotonic() < deadline, "memcached does not answer"
                time.sleep(0.05)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            connection.sendall(b"version\r\n")
            return connection.recv(64).startswith(b"VERSION")
    except OSError:
        return False


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
