"""
Which servers hold a session: rendezvous hashing over the configured servers.

Thaler and Ravishankar, "A name-based mapping scheme for rendezvous", 1996. The choice never
depends on who is up, so an outage moves nothing; and when a server is added to or taken from the
settings, a replica set changes in at most one member.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b


class Placement:
    """
    Ranks servers for a storage id. `names` are the servers as the settings write them.
    """

    def __init__(self, names: Sequence[str], replicas: int) -> None:
        self.replicas = replicas
        # Each server's name keys a hash of its own; prepared once, copied per look-up.
        self._hashes = [
            blake2b(key=blake2b(name.encode(), digest_size=32).digest(), digest_size=8)
            for name in names
        ]

    def replica_set(self, storage_id: str) -> list[int]:
        """
        Return the indices of the servers that hold this session, in the order of the settings.

        One order for all, so that two threads never wait for each other's connections.
        """
        if self.replicas >= len(self._hashes):
            return list(range(len(self._hashes)))
        name = storage_id.encode()
        scores = []
        for index, prepared in enumerate(self._hashes):
            score = prepared.copy()
            score.update(name)
            scores.append((score.digest(), index))
        scores.sort(reverse=True)
        return sorted(index for _, index in scores[: self.replicas])
