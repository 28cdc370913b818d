"""
A web process of the demo, in a process of its own: Django's development server, or uvicorn.
"""

from __future__ import annotations

import http.client
import sys
from collections.abc import Sequence
from pathlib import Path

from testproject.servers import ServerUnavailable
from testproject.servers.process import LOOPBACK, ServerProcess

MANAGE = Path(__file__).with_name("manage.py")
ROOT = MANAGE.parent.parent
REQUEST_TIMEOUT = 10.0


class WebServer(ServerProcess):
    name = "The web process"

    def command(self, folder: Path) -> Sequence[str]:
        return [sys.executable, str(MANAGE), "runserver", "--noreload", self.address]

    def answers(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=REQUEST_TIMEOUT)
        try:
            connection.request("GET", "/", headers={"Connection": "close"})
            page = connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        # Every page says which process wrote it.
        return f"web process <strong>{self.pid}</strong>".encode() in page

    @property
    def url(self) -> str:
        return f"http://{self.address}/"

    def ensure_running(self) -> None:
        if not self.is_running:
            raise ServerUnavailable(f"{self.name} ended.{self._output_tail()}")


class ASGIServer(WebServer):
    """
    The same site under ASGI.
    """

    def command(self, folder: Path) -> Sequence[str]:
        options = ["--host", LOOPBACK, "--port", str(self.port), "--app-dir", str(ROOT)]
        application = "testproject.asgi:with_static_files"
        return [sys.executable, "-m", "uvicorn", *options, "--factory", application]
