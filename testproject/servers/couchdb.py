"""
Which CouchDB this machine offers: one that runs elsewhere, Apache CouchDB, or a stand-in.
"""

from __future__ import annotations

import os
import shutil

from testproject.servers.apache_couchdb import ApacheCouchDB
from testproject.servers.couchdb_api import CouchDBServer
from testproject.servers.external_couchdb import ExternalCouchDB
from testproject.servers.pouchdb import PouchDBServer

URL_VARIABLE = "DISTSESSION_TEST_COUCHDB_URL"

__all__ = ["CouchDBServer", "couchdb_server"]


def couchdb_server() -> CouchDBServer:
    """
    A server of the first kind at hand, not yet started.
    """
    url = os.environ.get(URL_VARIABLE)
    if url:
        return ExternalCouchDB(url)
    program = shutil.which("couchdb")
    if program:
        return ApacheCouchDB(program)
    return PouchDBServer()
