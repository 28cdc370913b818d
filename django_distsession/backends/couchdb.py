"""
`SESSION_ENGINE = "django_distsession.backends.couchdb"`: sessions as CouchDB documents.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.module_loading import import_string

from .. import conf
from ..observing import Tell
from ..secret import Secret
from ..stores.couchdb import CouchDBStore
from ..stores.couchdb.client import Client
from ..stores.couchdb.client.connect import connect
from ..stores.couchdb.conditional import ConditionalReads
from ..stores.couchdb.designs import bundled_designs, own_designs
from ..stores.couchdb.designs.setup import SetUp
from ..stores.couchdb.http.address import Address
from .base import StoreBackedSession
from .runtime import Runtime


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
    def make_couchdb_store(cls, runtime: Runtime) -> CouchDBStore:
        """
        Return the store that `DISTSESSION["COUCHDB"]` describes.
        """
        given = runtime.settings.couchdb
        if given is None:
            raise conf.missing("COUCHDB", "URL")
        database = cls.database_name(given)
        usual = cls._usual_client(given, database, runtime.tell)
        conditional = (
            ConditionalReads(given.cache_entries, given.cache_bytes, clock=runtime.clock)
            if given.conditional_reads
            else None
        )
        return CouchDBStore(
            usual,
            cls.make_set_up(given, database, usual, runtime.tell),
            merge=runtime.records.merge,
            as_json=runtime.records.codec.is_json,
            conditional=conditional,
            hashed=runtime.settings.hash_keys,
            index_timeout=given.index_timeout,
            grace=given.expiry_grace,
            clock=runtime.clock,
        )

    @classmethod
    def make_set_up(
        cls,
        given: conf.CouchDBSettings,
        database: str,
        usual: Client | None = None,
        tell: Tell | None = None,
    ) -> SetUp:
        """
        Return what creates a database and its design documents, with the rights of `ADMIN_URL`.

        usual: the client of the request path, which serves where there is no `ADMIN_URL`.
        tell: for reports; None if nobody wants them.
        """
        if given.admin_urls:
            admin = cls._connect(given, given.admin_urls, database, tell)
        else:
            admin = usual or cls._usual_client(given, database)
        member = Address(given.urls[0]).user if given.urls and given.admin_urls else None
        return SetUp(
            admin,
            create=given.create,
            member=member,
            designs=(*bundled_designs().values(), *own_designs(given.designs)),
        )

    @classmethod
    def make_clients(cls, given: conf.CouchDBSettings, database: str) -> list[Client]:
        """
        Return a client for each node, under `URL` and under `ADMIN_URL`, that asks no other node.
        """
        usual = [cls._usual_client(given, database)] if given.client else []
        urls = given.admin_urls if given.client else (*given.urls, *given.admin_urls)
        return usual + [cls._connect(given, [url], database) for url in urls]

    @classmethod
    def _usual_client(
        cls, given: conf.CouchDBSettings, database: str, tell: Tell | None = None
    ) -> Client:
        if given.client:
            return Client(import_string(given.client)(), database)
        return cls._connect(given, given.urls, database, tell)

    @classmethod
    def _connect(
        cls,
        given: conf.CouchDBSettings,
        urls: Sequence[Secret[str]],
        database: str,
        tell: Tell | None = None,
    ) -> Client:
        server = connect(
            urls,
            timeout=given.timeout,
            pool_size=given.pool_size,
            auth=given.auth,
            ca_file=given.ca_file,
            retry_after=given.retry_after,
            tell=tell,
            clock=cls.clock,
        )
        return Client(server, database)


class SessionStore(CouchDBSession):
    """
    A session in CouchDB.
    """

    needed_settings = ("COUCHDB",)

    @classmethod
    def make_store(cls, runtime: Runtime) -> CouchDBStore:
        return cls.make_couchdb_store(runtime)
