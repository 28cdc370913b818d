"""
Start programs that end with this process.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")


def launch(command: Sequence[str], *, cwd: Path, output: Path) -> subprocess.Popen[bytes]:
    """
    Start a program in a process group of its own, which Ctrl-C in the terminal does not reach.
    """
    guarded = [sys.executable, "-IS", str(DIE_WITH_PARENT), str(os.getpid()), *command]

    def start() -> subprocess.Popen[bytes]:
        with output.open("ab") as log:
            return subprocess.Popen(
                guarded,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    # To the kernel the parent is the thread that forked: it has to live as long as we do.
    if threading.current_thread() is threading.main_thread():
        return start()
    return _lasting_thread(os.getpid()).submit(start).result()


@functools.cache
def _lasting_thread(pid: int) -> ThreadPoolExecutor:
    # By process, as a forked child inherits the pool but not its thread.
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"servers-of-{pid}")
