"""
What is said to a memcached server and what it says: the meta protocol, without any I/O.
"""

from __future__ import annotations

from typing import NamedTuple

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
