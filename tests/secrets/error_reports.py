"""
What a report of an error shows: a page of Django's, a mail to ADMINS, an error tracker.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any
from urllib.parse import quote

from django.template.defaultfilters import pprint

USER = "me"
PASSWORD = "Hush-4711/ü"
ENCODED = quote(PASSWORD, safe="")
URL = f"http://{USER}:{ENCODED}@127.0.0.1:5984"
FORMS = (
    PASSWORD,
    "Hush-4711",
    ENCODED,
    json.dumps(PASSWORD)[1:-1],
    base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
)


def tells_it(text: str) -> bool:
    return any(form in text for form in FORMS)


def leaks(error: BaseException) -> list[str]:
    """
    Return where an error, its causes and the variables of all functions that they came through,
    but those of tests, tell the password.
    """
    return [f"{where}: {text}" for where, text in _shown(error) if tells_it(text)]


def _shown(error: BaseException) -> Iterator[tuple[str, str]]:
    for one in _chain(error):
        yield type(one).__name__, f"{one!r} {one} {vars(one)!r}"
        for frame in _frames(one.__traceback__):
            yield from variables(frame)


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__]
    return found


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        if "/tests/" not in traceback.tb_frame.f_code.co_filename:
            yield traceback.tb_frame
        traceback = traceback.tb_next


def variables(frame: FrameType) -> Iterator[tuple[str, str]]:
    code = frame.f_code
    for name, value in list(frame.f_locals.items()):
        yield f"{code.co_filename}:{frame.f_lineno} {code.co_qualname} {name}", pprint(value)


@contextmanager
def watched(is_ours: Any) -> Iterator[list[str]]:
    """
    Collect where a variable told the password when a function ended, for the functions of which
    `is_ours(code)` is true: whatever interrupted one there would have shown it.
    """
    found: list[str] = []

    def look(frame: FrameType, event: str, argument: Any) -> Any:
        if event in ("return", "exception"):
            found.extend(where for where, text in variables(frame) if tells_it(text))
        return look

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not is_ours(frame.f_code):
            return None
        frame.f_trace_lines = False
        return look

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield found
    finally:
        sys.settrace(before)
