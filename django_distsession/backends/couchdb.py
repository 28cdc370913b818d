"""
`SESSION_ENGINE = "django_distsession.backends.couchdb"`: sessions as CouchDB documents.
"""

from __future__ import annotations

from typing import cast
from urllib.parse import unquote, urlsplit

from django.utils.module_loading import import_string

from .. import conf
from ..stores.base import Cleared, DurableStore
from ..stores.couchdb import CouchDBStore
from ..stores.couchdb.client import Client, connect
from .base import StoreBackedSession
from .records import Records


class CouchDBSession(StoreBackedSession):
    """
    What engines with a CouchDB have in common.
    """

    @classmethod
    def database_name(cls, settings: conf.CouchDBSettings) -> str:
        """
        Return the name of the database. Override it where neither the cookie's name nor
        `DATABASE` will do.
        """
        return settings.database

    @classmethod
    def make_couchdb_store(cls, settings: conf.Settings, records: Records) -> CouchDBStore:
        """
        Return the store that `DISTSESSION["COUCHDB"]` describes.
        """
        given = settings.couchdb
        if given is None:
            raise conf.missing("COUCHDB", "URL")
        database = cls.database_name(given)

        def client(url: str) -> Client:
            return Client(connect(url, timeout=given.timeout, pool_size=given.pool_size), database)

        if given.client:
            usual = Client(import_string(given.client)(), database)
        else:
            usual = client(given.url)
        admin = client(given.admin_url) if given.admin_url else usual
        member = urlsplit(given.url).username if given.admin_url else None
        return CouchDBStore(
            usual,
            admin,
            create=given.create,
            member=member and unquote(member),
            as_json=records.codec.is_json,
        )

    @classmethod
    def clear_expired(cls) -> Cleared:  # type: ignore[override]
        """
        Remove expired sessions for good, and tell how many.
        """
        return cast(DurableStore, cls.get_store()).clear_expired()


class SessionStore(CouchDBSession):
    """
    A session in CouchDB.
    """

    needed_settings = ("COUCHDB",)

    @classmethod
    def make_store(cls, settings: conf.Settings, records: Records) -> CouchDBStore:
        """
        Return the store of this engine.
        """
        return cls.make_couchdb_store(settings, records)
