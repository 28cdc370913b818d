"""
`SESSION_ENGINE = "django_distsession.backends.hybrid"`: memcached in front of CouchDB.
"""

from __future__ import annotations

from .. import conf
from ..stores.hybrid import HybridStore
from .couchdb import CouchDBSession
from .memcached import make_memcached_store
from .runtime import Runtime


class SessionStore(CouchDBSession):
    """
    A session in CouchDB, with a copy in memcached.
    """

    needed_settings = ("MEMCACHED", "COUCHDB")

    @classmethod
    def make_store(cls, runtime: Runtime) -> HybridStore:
        settings = runtime.settings
        if settings.couchdb is None:
            raise conf.missing("COUCHDB", "URL")
        return HybridStore(
            # Of a session that it does not hold, CouchDB knows.
            make_memcached_store(runtime, confirms_misses=False),
            cls.make_couchdb_store(runtime),
            merge=runtime.records.merge,
            revalidate_after=settings.hybrid.revalidate_after,
            either=settings.hybrid.writes == "either",
            timeout=settings.couchdb.timeout,
            names=("memcached", "CouchDB"),
            tell=runtime.tell,
            clock=runtime.clock,
        )
