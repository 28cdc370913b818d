"""
The memcached engine with as many replicas as a contender wants, beside the engine as the settings
describe it, in one process.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from django_distsession.backends import memcached
from django_distsession.backends.runtime import Runtime
from django_distsession.stores.memcached import MemcachedStore


class ReplicatedSession(memcached.SessionStore):
    """
    replicas, quorum: in place of those in the settings.
    """

    replicas: ClassVar[int]
    quorum: ClassVar[int]

    @classmethod
    def make_store(cls, runtime: Runtime) -> MemcachedStore:
        given = runtime.settings.memcached
        assert given is not None
        given = replace(given, replicas=cls.replicas, quorum=cls.quorum)
        runtime.settings = replace(runtime.settings, memcached=given)
        return super().make_store(runtime)
