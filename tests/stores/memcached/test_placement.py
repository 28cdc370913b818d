from __future__ import annotations

import pytest

from django_distsession.stores.memcached.placement import Placement

SERVERS = [f"10.0.0.{number}:11211" for number in range(1, 6)]
IDS = [f"{number:064x}" for number in range(200)]


def names(servers: list[str], storage_id: str, replicas: int = 2) -> list[str]:
    return [servers[index] for index in Placement(servers, replicas).replica_set(storage_id)]


def test_servers_come_in_the_order_of_the_settings() -> None:
    placement = Placement(SERVERS, 3)
    for storage_id in IDS:
        indices = placement.replica_set(storage_id)
        assert indices == sorted(indices)
        assert len(set(indices)) == 3


def test_the_order_of_the_settings_has_no_say_in_who_holds_a_session() -> None:
    for storage_id in IDS:
        assert set(names(SERVERS, storage_id)) == set(names(SERVERS[::-1], storage_id))


def test_each_server_takes_its_share() -> None:
    held = [name for storage_id in IDS for name in names(SERVERS, storage_id)]
    assert all(50 < held.count(name) < 120 for name in SERVERS)


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_one_server_more_takes_one_place_at_most(replicas: int) -> None:
    moved = 0
    for storage_id in IDS:
        before = set(names(SERVERS[:-1], storage_id, replicas))
        after = set(names(SERVERS, storage_id, replicas))
        assert after - before <= {SERVERS[-1]}
        moved += before != after
    assert 0 < moved < len(IDS)


@pytest.mark.parametrize("replicas", [2, 5])
def test_where_there_are_no_more_servers_all_hold_it(replicas: int) -> None:
    assert names(SERVERS[:2], IDS[0], replicas) == SERVERS[:2]
