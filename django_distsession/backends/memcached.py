"""
`SESSION_ENGINE = "django_distsession.backends.memcached"`: sessions in replicated memcached.
"""

from __future__ import annotations

from .. import conf
from ..stores.memcached import MemcachedStore
from .base import StoreBackedSession
from .runtime import Runtime


def make_memcached_store(runtime: Runtime, *, confirms_misses: bool = True) -> MemcachedStore:
    """
    Return the store that `DISTSESSION["MEMCACHED"]` describes.

    confirms_misses: see `MemcachedStore`.
    """
    given = runtime.settings.memcached
    if given is None:
        raise conf.missing("MEMCACHED", "SERVERS")
    return MemcachedStore(
        given.servers,
        namespace=runtime.settings.namespace,
        merge=runtime.records.merge,
        replicas=given.replicas,
        quorum=given.quorum,
        timeout=given.timeout,
        connect_timeout=given.connect_timeout,
        pool_size=given.pool_size,
        retry_after=given.retry_after,
        credentials=given.credentials,
        tls_context=given.tls_context,
        confirms_misses=confirms_misses,
        tell=runtime.tell,
        clock=runtime.clock,
    )


class SessionStore(StoreBackedSession):
    """
    A session in memcached. Expired ones vanish by themselves.
    """

    needed_settings = ("MEMCACHED",)

    @classmethod
    def make_store(cls, runtime: Runtime) -> MemcachedStore:
        return make_memcached_store(runtime)
