"""
Files that settings name. They are read with the settings, so that an unusable file is reported
then, and not by the first session.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any


class Unusable(Exception):
    """
    What is wrong with the file, as the rest of a sentence that begins with the setting's name.
    """


def tls_context(tls: Any) -> ssl.SSLContext | None:
    """
    Return the context for `MEMCACHED["TLS"]`.
    """
    if tls is None or isinstance(tls, ssl.SSLContext):
        return tls
    files = {} if tls is True else tls
    try:
        context = ssl.create_default_context(cafile=files.get("CA_FILE"))
        if files.get("CERT_FILE"):
            context.load_cert_chain(files["CERT_FILE"], files.get("KEY_FILE"))
    except (ssl.SSLError, OSError) as error:
        raise Unusable(
            f"names files that cannot be used ({error.strerror or type(error).__name__})."
        ) from error
    return context


def ca_file(path: str | Path | None) -> str | None:
    """
    Return the path of `COUCHDB["CA_FILE"]`.
    """
    if path is None:
        return None
    try:
        ssl.create_default_context(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise Unusable(
            f"holds no certificates that can be used ({type(error).__name__}). Write the path of "
            "a file in PEM format."
        ) from error
    return str(path)


def designs(path: str | Path | None) -> str | None:
    """
    Return the path of `COUCHDB["DESIGNS"]`.
    """
    if path is None:
        return None
    # Imports CouchDB's client, which sites without CouchDB do not need.
    from ..stores.couchdb.designs import DesignError, own_designs

    try:
        own_designs(path)
    except DesignError as error:
        raise Unusable(f"holds a design document that cannot be used. {error}.") from error
    return str(path)
