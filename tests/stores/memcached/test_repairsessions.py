"""
Sessions that nobody looks at outlive a rolling restart, because `repairsessions` looks at them.
"""

from __future__ import annotations

import socket
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from testproject.servers import MemcachedNode

from .conftest import await_recovery, contents, copies, holders, stored


def repair(*arguments: str, **options: Any) -> str:
    output = StringIO()
    call_command("repairsessions", *arguments, stdout=output, no_progress=True, **options)
    return output.getvalue()


def test_idle_sessions_survive_the_empty_restart_of_all_nodes(
    use: Any, trio: list[MemcachedNode]
) -> None:
    sessions = use(trio)
    keys = [stored(sessions, number=number) for number in range(60)]
    for node in trio:
        node.kill()
        node.start()
        # As after a real outage, the command runs in a process that saw nothing of it.
        repair()
    assert [contents(sessions, key) for key in keys] == [{"number": n} for n in range(60)]


def test_without_repair_two_empty_restarts_lose_idle_sessions(
    use: Any, trio: list[MemcachedNode]
) -> None:
    # What the test above would not notice if it proved nothing.
    sessions = use(trio)
    key = stored(sessions, a=1)
    for node in holders(sessions, key, trio):
        node.kill()
        node.start()
    assert contents(sessions, key) == {}


def test_sessions_that_ended_stay_ended(use: Any, trio: list[MemcachedNode]) -> None:
    sessions = use(trio)
    keys = [stored(sessions, number=number) for number in range(20)]
    trio[0].pause()
    for key in keys:
        sessions(key).flush()
    trio[0].resume()
    await_recovery(sessions, keys[0])
    repair()
    for key in keys:
        assert set(copies(sessions, key).values()) <= {"ended", "absent"}


def test_counts_tell_what_was_done(use: Any, trio: list[MemcachedNode]) -> None:
    sessions = use(trio)
    keys = [stored(sessions, number=number) for number in range(10)]
    assert "20 copies seen: 0 sessions repaired by writing 0 copies" in repair()
    lost = sum(trio[0] in holders(sessions, key, trio) for key in keys)
    trio[0].kill()
    trio[0].start()
    assert f"{20 - lost} copies seen: {lost} sessions repaired by writing {lost} copies" in repair()
    assert "20 copies seen: 0 sessions repaired" in repair()


def test_only_the_named_server_is_walked(use: Any, trio: list[MemcachedNode]) -> None:
    sessions = use(trio)
    keys = [stored(sessions, number=number) for number in range(10)]
    held = sum(trio[1] in holders(sessions, key, trio) for key in keys)
    assert f"{held} copies seen" in repair("--server", trio[1].address)
    with pytest.raises(CommandError, match="is not one of"):
        repair("--server", "10.0.0.1:11211")


def test_other_namespaces_are_left_alone(use: Any, trio: list[MemcachedNode]) -> None:
    sessions = use(trio)
    with socket.create_connection(("127.0.0.1", trio[0].port)) as other:
        other.sendall(b"set other:key 0 0 1\r\nx\r\n")
        other.recv(100)
    stored(sessions, a=1)
    assert "2 copies seen" in repair()


def test_a_node_that_is_down_makes_the_command_fail(use: Any, trio: list[MemcachedNode]) -> None:
    sessions = use(trio)
    keys = [stored(sessions, number=number) for number in range(10)]
    trio[2].kill()
    with pytest.raises(CommandError, match="does not list its keys"):
        repair()
    assert all(contents(sessions, key) for key in keys)


def test_a_node_that_forbids_listing_is_named(use: Any) -> None:
    with MemcachedNode(["-X"]) as node:
        stored(use([node]), a=1)
        with pytest.raises(CommandError, match="disable-dumping"):
            repair()


def test_it_stops_when_its_time_is_up_and_goes_on_when_run_again(
    use: Any, trio: list[MemcachedNode]
) -> None:
    sessions = use(trio)
    for number in range(10):
        stored(sessions, number=number)
    with pytest.raises(CommandError, match="run it again"):
        repair("--rate", "1", "--batch-size", "5", "--max-seconds", "2")
    assert "20 copies seen" in repair("--batch-size", "3", "--rate", "100000")


def test_sessions_move_to_servers_that_were_added(use: Any, trio: list[MemcachedNode]) -> None:
    sessions = use(trio[:1])
    keys = [stored(sessions, number=number) for number in range(20)]
    sessions = use(trio, REPLICAS=1)
    assert not all(contents(sessions, key) for key in keys)
    repair()
    assert all("number" in contents(sessions, key) for key in keys)


def test_an_engine_without_replicas_has_nothing_to_repair(settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    with pytest.raises(CommandError, match="nothing to repair"):
        repair()
