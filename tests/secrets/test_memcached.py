from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_distsession.stores.deadline import Deadline

from .conftest import Interrupted, assert_keeps_it, errors_of, uses
from .error_reports import PASSWORD, USER
from .stuck_server import stuck

# It takes the first line for a command, and the user for another.
REDIS = (
    "-ERR syntax error\r\n"
    f"-ERR unknown command '{USER}', with args beginning with: '{PASSWORD}'\r\n"
)


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        (b"", {}),
        (b"CLIENT_ERROR authentication failure\r\n", {}),
        (b"nonsense\r\n", {}),
        (b"nonsense\r\n", {"TLS": True}),
        (REDIS.encode(), {}),
        (f"ERROR {PASSWORD}\r\n".encode(), {}),
        (PASSWORD.encode(), {}),
        (None, {}),
    ],
    ids=[
        "hangs up",
        "wrong password",
        "no memcached",
        "no TLS",
        "Redis",
        "echo",
        "half a line",
        "hangs",
    ],
)
def test_memcached_that_is_no_help(
    memcached_at: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes | None,
    more: dict[str, Any],
) -> None:
    with stuck(answer) as server:
        sessions = memcached_at(server, **more)
        assert_keeps_it(errors_of(*uses(sessions)))
        # What such an error went through before it was understood.
        connect = sessions.get_store().nodes[0]._connect
        assert_keeps_it(errors_of(lambda: connect().connect(Deadline(0.3))))


@pytest.mark.parametrize("where", ["_readline", "MemcacheUnknownError"])
def test_memcached_interrupted_while_it_logs_in(
    memcached_at: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def interrupt(*args: Any) -> None:
        raise Interrupted

    monkeypatch.setattr(f"django_distsession.stores.memcached.connection.{where}", interrupt)
    with stuck(b"nonsense\r\n") as server:
        assert_keeps_it(errors_of(*uses(memcached_at(server))))
