"""
What is said to a memcached server and what it says: the meta protocol, without any I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pymemcache.exceptions import (
    MemcacheClientError,
    MemcacheError,
    MemcacheUnknownCommandError,
    MemcacheUnknownError,
)

# For want of memory, most likely. memcached drops the value that was there.
REFUSED = b"SERVER_ERROR"

# Of the meta protocol, but for `VALUE`.
VALUE, DONE, MISS, CHANGED = b"VA", b"HD", b"EN", b"EX"
STATUSES = {DONE, MISS, CHANGED, b"NF", b"NS"}

# Asks for a value, its cas token and its remaining time: of a key.
GET = b"mg %b v c t"
# Stores a value, which is to follow it: a key, the value's size, its TTL (in seconds, or from 30
# days on an absolute time). A condition may be added.
SET = b"ms %b %d T%d c"
# Deletes a value: a key. A condition may be added.
DELETE = b"md %b"

# Conditions under which a server does it: in any case; if there is no value; if this is its token.
ALWAYS, IF_ABSENT, IF_CAS = b"", b" ME", b" C%d"

# Stale; won, and lost, the right to make it anew.
MARKS = (b" X", b" W", b" Z")

# What the line is shorter than with which every reply begins.
LONGEST_LINE = 2048

NOT_OURS = "The reply belongs to another request."

SETTINGS, STATS = b"stats settings\r\n", b"stats\r\n"

# The process id of a run of a server, and when it began, in seconds since the epoch.
Incarnation = tuple[int, int]

DEFAULT_ITEM_LIMIT = 1024 * 1024
# What memcached keeps beside key and value in an item: header, cas value, terminators.
ITEM_OVERHEAD = 128


class Reply(NamedTuple):
    """
    status: "VA" (a value), "HD" (done), "EN" (no such key), "EX" (changed since), "NF" (gone),
    "NS" (not stored: it is there already), `REFUSED`. cas: the value's token, where there is one.
    ttl: the seconds until a value expires by the server's own clock.
    """

    status: bytes
    cas: int = 0
    value: bytes = b""
    ttl: int = 0


class ServerError(MemcacheError):  # type: ignore[misc]
    """
    The server works, but cannot do what it was asked: for want of memory, most likely.
    """


def parse_reply(
    data: bytes, start: int, ending: bytes, item_limit: int
) -> tuple[Reply, int] | None:
    """
    Return the reply that begins at `start`, and where the next one does; None if more has to be
    read. `ServerError`; one of pymemcache's errors if it is not the reply that is due.

    ending: how the line ends that begins this reply: its key and its opaque token.
    item_limit: the size of the largest value that there may be.
    """
    end = data.find(b"\r\n", start)
    if end < 0:
        if len(data) - start > LONGEST_LINE:
            raise MemcacheUnknownError("The reply is longer than any that memcached gives.")
        return None
    line = data[start:end]
    if not line.endswith(ending):
        line = _without_marks(line, ending)
    status, *answers = line[: -len(ending)].split()
    end += 2
    if status != VALUE:
        if status not in STATUSES:
            raise MemcacheUnknownError(NOT_OURS)
        return Reply(status, int(answers[0][1:]) if answers else 0), end
    size, cas, ttl = answers
    value_end = end + int(size)
    if not end <= value_end <= end + item_limit:
        raise MemcacheUnknownError("A value is larger than any that the server takes.")
    next_start = value_end + 2
    if len(data) < next_start:
        return None
    if not data.startswith(b"\r\n", value_end):
        raise MemcacheUnknownError(NOT_OURS)
    return Reply(status, int(cas[1:]), data[end:value_end], int(ttl[1:])), next_start


def _without_marks(line: bytes, ending: bytes) -> bytes:
    # Of an item that somebody marked as stale (`md … I`) memcached says so unasked, at the end.
    bare = line
    while bare.endswith(MARKS):
        bare = bare[:-2]
    if bare.endswith(ending):
        return bare
    said = line[:LONGEST_LINE].decode("ascii", "replace")
    if line.startswith(b"SERVER_ERROR"):
        raise ServerError(said)
    if line.startswith(b"ERROR"):
        raise MemcacheUnknownCommandError("meta")
    if line.startswith(b"CLIENT_ERROR"):
        raise MemcacheClientError(said)
    raise MemcacheUnknownError(NOT_OURS)


def ends_answer(received: bytes) -> bool:
    """
    Whether this is all that a server answers to `SETTINGS`, or to an authentication.
    """
    last = received.rpartition(b"\n")[0].rpartition(b"\n")[2]
    return received.endswith(b"\r\n") and not last.startswith(b"STAT ")


def parse_stats(answer: bytes) -> dict[bytes, bytes]:
    """
    Return what a server says of itself. `MemcacheUnknownError` if it complains instead.
    """
    if answer.startswith((b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR")):
        raise MemcacheUnknownError(answer[:LONGEST_LINE].decode("ascii", "replace").strip())
    told = {}
    for line in answer.split(b"\r\n"):
        if line.startswith(b"STAT "):
            _, name, value = line.split(b" ", 2)
            told[name] = value
    return told


def item_limit_in(settings: Mapping[bytes, Any]) -> int:
    """
    Return the largest item that a server takes, out of its answer to `SETTINGS`.
    """
    return int(settings.get(b"item_size_max", 0)) or DEFAULT_ITEM_LIMIT


def incarnation_in(stats: Mapping[bytes, Any]) -> Incarnation:
    """
    Return what tells one run of a server from the next, out of its answer to `STATS`.

    Both clocks in there are the server's own, so their difference stays what it is.
    """
    number, now, uptime = (int(stats.get(name, 0)) for name in (b"pid", b"time", b"uptime"))
    return number, now - uptime


def authentication(credentials: tuple[str, str]) -> bytes:
    """
    Return memcached's ASCII authentication (-Y): a first `set`, of any key, that holds user name
    and password.
    """
    content = " ".join(credentials).encode()
    return b"set auth 0 0 %d\r\n%b\r\n" % (len(content), content)


def parse_server(server: str) -> tuple[str, int] | str:
    """
    Return what pymemcache connects to for "host:port", "[ipv6]:port" or a UNIX socket's path.
    """
    if server.startswith(("/", "unix:")):
        return server.removeprefix("unix:")
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)
