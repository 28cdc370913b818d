"""
An engine as a site may write it: CouchDB, with a database name of its own.
"""

from __future__ import annotations

from django_distsession import conf
from django_distsession.backends import couchdb


class SessionStore(couchdb.SessionStore):
    @classmethod
    def database_name(cls, settings: conf.CouchDBSettings) -> str:
        return f"{settings.database}-own"
