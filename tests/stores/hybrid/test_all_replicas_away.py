"""
Several processes whose links to memcached break all at once, with the data still there.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from django_distsession.backends.hybrid import SessionStore
from django_distsession.stores.abilities import parts_of
from django_distsession.stores.deadline import Deadline
from django_distsession.stores.memcached import MemcachedStore
from testproject.servers import memcached_nodes
from testproject.servers.links import Link
from testproject.servers.network import Network
from testproject.servers.process import LOOPBACK
from tests.conftest import close_connections

SOON = 30.0
NEVER = 1000.0

Engine = type[SessionStore]


@pytest.fixture
def links() -> Iterator[list[Link]]:
    with memcached_nodes(3) as nodes, Network() as network:
        yield [Link(network, (LOOPBACK, node.port)) for node in nodes]


@pytest.fixture
def process(
    settings: Any, distsession: dict[str, Any], configure: Callable[..., None], links: list[Link]
) -> Iterator[Callable[..., Engine]]:
    """
    Return a function that makes a web process, as far as session stores can tell.

    retry_after: how soon it finds out by itself that a memcached server is back.
    """
    made: list[Engine] = []
    names = [link.address for link in links]

    def make(retry_after: float = 0.02) -> Engine:
        configure(
            MEMCACHED={"SERVERS": names, "RETRY_AFTER": retry_after, "TIMEOUT": 0.3},
            HYBRID={"REVALIDATE_AFTER": NEVER},
        )
        settings.SESSION_ENGINE = "django_distsession.backends.hybrid"
        one: Engine = type(f"Process{uuid.uuid4().hex}", (SessionStore,), {})
        one.get_store()
        made.append(one)
        return one

    yield make
    for one in made:
        close_connections(one)


def nodes_of(process: Engine) -> Any:
    parts = parts_of(process.get_store())
    return next(part for part in parts if isinstance(part, MemcachedStore)).nodes


def until(is_so: Callable[[], object]) -> None:
    deadline = Deadline(SOON)
    while not is_so():
        deadline.require()


def saved(process: Engine, key: str | None = None, **values: object) -> str:
    session = process(key)
    session.update(values)
    session.save()
    return session.session_key or ""


def contents(process: Engine, key: str) -> dict[str, object]:
    return dict(process(key).items())


def break_all(links: list[Link], fault: str) -> None:
    for link in links:
        getattr(link, fault)()


def mend_all(links: list[Link]) -> None:
    for link in links:
        link.mend()


def is_well(process: Engine) -> bool:
    return all(node.is_up() for node in nodes_of(process)) and not any(
        thread.name == "distsession-handoff" for thread in threading.enumerate()
    )


@pytest.mark.parametrize("fault", ["refuse", "cut"])
def test_no_process_that_could_know_shows_what_was_there_before_all_of_memcached_was_away(
    process: Callable[..., Engine], links: list[Link], fault: str
) -> None:
    # Which finds out about memcached by its own requests alone.
    writer, witness = process(NEVER), process(NEVER)
    keys = [saved(writer, a=1) for _ in range(6)]
    break_all(links, fault)
    assert [contents(witness, key) for key in keys] == [{"a": 1}] * 6
    for key in keys:
        saved(writer, key, b=1)
    writer(keys[0]).flush()
    mend_all(links)
    for one in (witness, writer):
        for node in nodes_of(one):
            # As its watcher would.
            node.breaker.succeeded()
        assert [contents(one, key) for key in keys] == [{}] + [{"a": 1, "b": 1}] * 5


def test_who_missed_writes_makes_good_for_them_once_memcached_is_back(
    process: Callable[..., Engine], links: list[Link]
) -> None:
    writer = process()
    keys = [saved(writer, a=1) for _ in range(6)]
    idle = process()
    break_all(links, "refuse")
    for key in keys:
        saved(writer, key, b=1)
    writer(keys[0]).flush()
    mend_all(links)
    until(partial(is_well, writer))
    # It had seen nothing of all that, and has no reason to ask CouchDB.
    assert [contents(idle, key) for key in keys] == [{}] + [{"a": 1, "b": 1}] * 5
