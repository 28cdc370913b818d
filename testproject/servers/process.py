"""
A server that runs as our child process: how it is started, hung, and ended.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from testproject.servers.base import Server, ServerUnavailable
from testproject.servers.launch import launch

LOOPBACK = "127.0.0.1"
# Generous: only a broken server or a broken machine ever waits this long.
ANSWER_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0
POLL_INTERVAL = 0.02
OUTPUT_LINES = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """
    Have servers that are started meanwhile see these variables: they inherit those of this process.
    """
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class ServerProcess(Server):
    name: str

    def __init__(self, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self._may_change_port = port is None
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._owner = os.getpid()

    @abstractmethod
    def command(self, folder: Path) -> Sequence[str]:
        """
        The program and its arguments; what files it needs go into the folder.
        """

    @abstractmethod
    def answers(self) -> bool:
        """
        Whether this very server answers, not another one that took the port.
        """

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} on port {self.port} was never started.")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        try:
            self._start()
        except ServerUnavailable:
            # Between choosing a free port and using it, somebody else may have taken it.
            if not self._may_change_port or not self._port_is_taken():
                raise
            self.port = free_port()
            self._start()
        self._may_change_port = False

    def stop(self) -> None:
        # A stopped process acts on SIGTERM only once it continues.
        self._signal(signal.SIGTERM, signal.SIGCONT)
        if self._process is not None:
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def pause(self) -> None:
        self._require_running()
        self._signal(signal.SIGSTOP)
        # WEXITED, or a process that dies instead would be waited for without end; WNOWAIT,
        # or its exit status would be lost to `Popen`.
        waited = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if waited is None or waited.si_code != os.CLD_STOPPED:
            raise ServerUnavailable(f"{self.name} ended instead of pausing.{self._output_tail()}")

    def resume(self) -> None:
        self._require_running()
        self._signal(signal.SIGCONT)
        self._wait_until_answering()

    def close(self) -> None:
        # A forked child inherits the exit handlers, but the server is not its own to stop.
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.close)
        self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start(self) -> None:
        if self.is_running:
            raise RuntimeError(f"{self.name} on port {self.port} is already running.")
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="distsession-"))
            atexit.register(self.close)
        command = self.command(self._folder)
        self._process = launch(command, cwd=self._folder, output=self._folder / "output.log")
        try:
            self._wait_until_answering()
        except BaseException:
            self.kill()
            raise

    def _wait_until_answering(self) -> None:
        deadline = time.monotonic() + ANSWER_TIMEOUT
        while not self.answers():
            if not self.is_running:
                raise ServerUnavailable(f"{self.name} ended.{self._output_tail()}")
            if time.monotonic() > deadline:
                raise ServerUnavailable(
                    f"{self.name} does not answer on port {self.port}.{self._output_tail()}"
                )
            time.sleep(POLL_INTERVAL)

    def _require_running(self) -> None:
        if not self.is_running:
            raise RuntimeError(f"{self.name} on port {self.port} is not running.")

    def _signal(self, *signals: signal.Signals) -> None:
        if self.is_running:
            for number in signals:
                os.killpg(self.pid, number)

    def _port_is_taken(self) -> bool:
        with socket.socket() as probe:
            # As the servers do, or connections that just ended would count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, self.port))
            except OSError:
                return True
        return False

    def _output_tail(self) -> str:
        output = self._folder and self._folder / "output.log"
        if not output or not output.exists():
            return ""
        lines = output.read_text(errors="replace").splitlines()[-OUTPUT_LINES:]
        return "\n".join([" Its last words:", *lines]) if lines else " It said nothing."
