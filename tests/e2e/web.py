"""
The demo site as it would be deployed: under gunicorn with two workers, and under uvicorn.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

from testproject.servers.process import LOOPBACK, ServerProcess, environment

ROOT = Path(__file__).resolve().parent.parent.parent
REQUEST_TIMEOUT = 10.0
PYTHON = [sys.executable, "-m"]


class WebServer(ServerProcess):
    def __init__(self, environment: Mapping[str, str], port: int) -> None:
        super().__init__(port)
        self._environment = environment

    def start(self) -> None:
        with environment(self._environment):
            super().start()

    def answers(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=REQUEST_TIMEOUT)
        try:
            connection.request("GET", "/", headers={"Connection": "close"})
            return b"Tea for Two" in connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    @property
    def url(self) -> str:
        return f"http://{self.address}"


class Gunicorn(WebServer):
    name = "gunicorn"

    def command(self, folder: Path) -> Sequence[str]:
        options = ["--workers", "2", "--bind", self.address, "--worker-tmp-dir", str(folder)]
        options += ["--chdir", str(ROOT), "--no-control-socket"]
        return [*PYTHON, "gunicorn", *options, "tests.e2e.web:wsgi()"]


class Uvicorn(WebServer):
    name = "uvicorn"

    def command(self, folder: Path) -> Sequence[str]:
        options = ["--host", LOOPBACK, "--port", str(self.port), "--app-dir", str(ROOT)]
        application = "testproject.asgi:with_static_files"
        return [*PYTHON, "uvicorn", *options, "--factory", application]


def wsgi() -> StaticFilesHandler:
    """
    Make the WSGI application, which serves the site's scripts and styles too.
    """
    return StaticFilesHandler(get_wsgi_application())


def make_user(environment: Mapping[str, str]) -> None:
    code = "import django; from testproject.demo import make_user; make_user()"
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment}, check=True
    )
