"""
A PostgreSQL server of our own, where Debian's package and psycopg are there.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

DEBIAN = Path("/usr/lib/postgresql")
# PostgreSQL refuses to run as root; Debian's package brings this user.
USER = "postgres"


@contextmanager
def running_postgresql() -> Iterator[dict[str, Any] | None]:
    """
    Yield what DATABASES takes; None where there is no PostgreSQL.
    """
    programs = _programs()
    if programs is None or find_spec("psycopg") is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="distsession-") as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        data, port = f"{folder}/data", _free_port()
        _run([programs / "initdb", "--auth=trust", f"--username={USER}", "-D", data])
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -p {port}"
        log = f"{folder}/log"
        _run([programs / "pg_ctl", "-D", data, "-o", options, "-l", log, "--wait", "start"])
        try:
            yield {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "postgres",
                "USER": USER,
                "HOST": folder,
                "PORT": port,
                "CONN_MAX_AGE": None,
            }
        finally:
            _run([programs / "pg_ctl", "-D", data, "--mode=fast", "--wait", "stop"])


def _programs() -> Path | None:
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).parent
    versions = sorted(DEBIAN.glob("*/bin"), key=lambda path: int(path.parent.name))
    return versions[-1] if versions else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _run(command: Sequence[str | Path]) -> None:
    as_user = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
    # Nothing may be kept open that the server would inherit.
    subprocess.run(
        [*as_user, *map(str, command)],
        check=True,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
