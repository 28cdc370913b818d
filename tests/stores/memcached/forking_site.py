"""
A site for gunicorn --preload: its session connections are in use before the workers are forked.

    SESSIONS_NAMESPACE, SESSIONS_SERVERS: where sessions are. /new makes one and answers its key;
    /KEY changes it and answers what it holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from .worker import create, set_up, write

set_up("-", os.environ["SESSIONS_NAMESPACE"], 2, 1, os.environ["SESSIONS_SERVERS"].split(","))
# Opens connections in the master, which its children must not share.
PRELOADED = create({"made by": "master"})


def application(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], Any]
) -> Iterable[bytes]:
    name = environ["PATH_INFO"].strip("/")
    if name == "new":
        answer: Any = create({"user": environ["QUERY_STRING"]})
    elif name == "preloaded":
        answer = PRELOADED
    else:
        answer = write(name, {environ["QUERY_STRING"]: os.getpid()})
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
