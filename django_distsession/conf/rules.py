"""
Rules for single settings. A rule takes a value and returns what to write instead, or None for a
value that is right. No Django here.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Rule = Callable[[Any], str | None]


def boolean(value: Any) -> str | None:
    """
    Accept True and False.
    """
    return None if isinstance(value, bool) else "True or False"


def seconds(value: Any) -> str | None:
    """
    Accept a span of time.
    """
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9
    return None if good else "a number of seconds greater than 0"


def not_negative(value: Any) -> str | None:
    """
    Accept a span of time, or none at all.
    """
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return None if good else "a number of seconds, 0 or more"


def count(value: Any) -> str | None:
    """
    Accept a number of things.
    """
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return None if good else "a whole number, 1 or more"


def whole_seconds(value: Any) -> str | None:
    """
    Accept a span of time that is counted in whole seconds.
    """
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return None if good else "a whole number of seconds, 0 or more"


def text(value: Any) -> str | None:
    """
    Accept any text but the empty one.
    """
    return None if isinstance(value, str) and value else "a string that is not empty"


def password(value: Any) -> str | None:
    """
    Accept text that can be encoded.
    """
    return text(value) or (None if _is_unicode(value) else "text that can be encoded as UTF-8")


def _is_unicode(value: str) -> bool:
    # Half of a surrogate pair cannot be encoded, and the error would show the whole text.
    return not re.search("[\ud800-\udfff]", value)


def optional(rule: Rule) -> Rule:
    """
    Accept what the rule accepts, or None.
    """

    def check(value: Any) -> str | None:
        wanted = None if value is None else rule(value)
        return wanted and f"{wanted}, or None"

    return check


def one_of(*choices: str) -> Rule:
    """
    Accept one of these.
    """
    wanted = " or ".join(f'"{choice}"' for choice in choices)
    return lambda value: None if value in choices else wanted


def namespace(value: Any) -> str | None:
    """
    Accept a prefix of memcached keys.
    """
    good = isinstance(value, str) and re.fullmatch(r"[!-~]{1,100}", value)
    return None if good else "1 to 100 ASCII characters, no spaces"


def dotted_path(value: Any) -> str | None:
    """
    Accept the dotted path of a Python object.
    """
    good = isinstance(value, str) and "." in value
    return None if good else 'a dotted path such as "package.module.name"'


def dotted_paths(value: Any) -> str | None:
    """
    Accept any number of dotted paths of Python objects.
    """
    if isinstance(value, list | tuple) and not any(map(dotted_path, value)):
        return None
    return 'a list of dotted paths, such as ["shop.metrics.observe"]'


SERVERS_TEXT = (
    'a list of "host:port", "[ipv6 address]:port" or "/path/of/a/socket", each server once'
)


def servers(value: Any) -> str | None:
    """
    Accept the addresses of memcached servers.
    """
    if not isinstance(value, list | tuple) or not value:
        return SERVERS_TEXT
    for server in value:
        if not isinstance(server, str):
            return f"{SERVERS_TEXT}, but holds a value of type {type(server).__name__}"
        if not _is_server(server):
            return f"{SERVERS_TEXT}, but holds {_quoted(server)}"
        if value.count(server) > 1:
            return f"{SERVERS_TEXT}, but holds {_quoted(server)} more than once"
    return None


def _quoted(server: str) -> str:
    # It may be a URL with a password.
    return '"' + re.sub(".*@", "********@", server, flags=re.DOTALL)[:80] + '"'


def _is_server(server: str) -> bool:
    if server.startswith(("/", "unix:/")):
        return True
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]]+):(\d{1,5})", server)
    return match is not None and 0 < int(match[2]) < 65536


URL_TEXT = (
    'a URL such as "http://user:password@10.0.0.3:5984", beginning with http:// or https://, with '
    "special characters in user and password percent-encoded (@ as %40, / as %2F, # as %23)"
)


def url(value: Any) -> str | None:
    """
    Accept the address of a CouchDB node.
    """
    try:
        parts = urlsplit(value) if isinstance(value, str) and _is_unicode(value) else None
        good = (
            parts is not None
            and parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not parts.query
            and not parts.fragment
            # The rest of a password with a slash that was not encoded.
            and "@" not in parts.path
        )
    except ValueError:
        good = False
    return None if good else URL_TEXT


URLS_TEXT = f"{URL_TEXT}; or a list of such URLs, the nodes of one cluster, each once"


def urls(value: Any) -> str | None:
    """
    Accept the address of a CouchDB node, or those of several.
    """
    if isinstance(value, list | tuple):
        good = value and all(url(one) is None for one in value) and len(set(value)) == len(value)
        return None if good else URLS_TEXT
    return url(value) and URLS_TEXT


DATABASE_NAME = re.compile(r"[a-z][a-z0-9_$()+/-]{0,237}")


def is_database_name(name: str) -> bool:
    """
    Whether CouchDB takes this as the name of a database.
    """
    return bool(DATABASE_NAME.fullmatch(name))


def suggest_database_name(name: str) -> str:
    """
    Return a name that CouchDB takes and that is as near as possible to `name`.
    """
    cleaned = re.sub(r"[^a-z0-9_$()+/-]", "-", name.lower())
    return re.sub(r"^[^a-z]+", "", cleaned)[:238] or "sessions"


def file(value: Any) -> str | None:
    """
    Accept the path of a file that exists.
    """
    return None if _is_path(value, Path.is_file) else "the path of an existing file"


def folder(value: Any) -> str | None:
    """
    Accept the path of a directory that exists.
    """
    return None if _is_path(value, Path.is_dir) else "the path of an existing directory"


def _is_path(value: Any, exists: Callable[[Path], bool]) -> bool:
    try:
        return isinstance(value, str | Path) and exists(Path(value))
    except OSError:
        # Too long for a path, for example.
        return False


TLS_FILES = {"CA_FILE", "CERT_FILE", "KEY_FILE"}
TLS_TEXT = (
    "True, an ssl.SSLContext, or a dict with the paths of existing files under "
    '"CA_FILE", "CERT_FILE" and "KEY_FILE" (each may be left out)'
)


def tls(value: Any) -> str | None:
    """
    Accept True, an `SSLContext`, or the paths of certificates and keys.
    """
    if value is True or isinstance(value, ssl.SSLContext):
        return None
    good = (
        isinstance(value, Mapping)
        and set(value) <= TLS_FILES
        and all(_is_path(path, Path.is_file) for path in value.values())
    )
    return None if good else TLS_TEXT
