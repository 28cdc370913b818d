"""
What the kernel says of a process.
"""

from __future__ import annotations

import os
import select
from pathlib import Path

# Long enough for any machine: only a failing test waits this long.
PATIENCE = 30.0


def is_paused(pid: int) -> bool:
    # The state follows the name, which is in brackets and may hold anything.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def wait_until_gone(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([process], [], [], PATIENCE)
    finally:
        os.close(process)
    assert ready, f"process {pid} is still there"
