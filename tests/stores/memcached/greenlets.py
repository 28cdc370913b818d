"""
Sessions under gevent: many greenlets on few connections, some of them timed out in the middle.

    python -m tests.stores.memcached.greenlets NAMESPACE SERVER [SERVER ...]

Prints a JSON object that says how it went.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402

from tests.stores.memcached.worker import create, read, set_up, write  # noqa: E402

GREENLETS = 60


def visit(number: int) -> int:
    """
    Return how often this user saw what is not theirs.
    """
    key = create({"user": number}) or ""
    wrong = 0
    for turn in range(10):
        try:
            # Some are over before the reply can have come; each switch may raise in the middle.
            with gevent.Timeout(0.0001 if turn % 3 == 0 else 30):
                wrong += write(key, {"turn": turn}).get("user") != number
        except gevent.Timeout:
            pass
        wrong += read(key).get("user") != number
    return wrong


def main() -> None:
    namespace, *servers = sys.argv[1:]
    set_up("-", namespace, 2, 1, servers)
    from django.conf import settings

    settings.DISTSESSION["MEMCACHED"].update(POOL_SIZE=4, TIMEOUT=10)
    running = [gevent.spawn(visit, number) for number in range(GREENLETS)]
    gevent.joinall(running, raise_error=True)
    from django_distsession.backends.memcached import SessionStore

    print(
        json.dumps(
            {
                "wrong": sum(greenlet.value for greenlet in running),
                "up": all(server["up"] for server in SessionStore.status()),
            }
        )
    )


if __name__ == "__main__":
    main()
