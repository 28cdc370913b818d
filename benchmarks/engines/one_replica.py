"""
`SESSION_ENGINE = "benchmarks.engines.one_replica"`: the memcached engine with REPLICAS = 1.
"""

from __future__ import annotations

from dataclasses import replace

from django_distsession import conf
from django_distsession.backends import memcached
from django_distsession.backends.records import Records
from django_distsession.stores.memcached import MemcachedStore


class SessionStore(memcached.SessionStore):
    """
    Beside the engine as the settings describe it, in one process.
    """

    @classmethod
    def make_store(cls, settings: conf.Settings, records: Records) -> MemcachedStore:
        given = settings.memcached
        assert given is not None
        return super().make_store(replace(settings, memcached=replace(given, replicas=1)), records)
