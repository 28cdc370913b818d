"""
Migrations on a real server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from django_distsession.stores.couchdb.client import Client, RequestRefused
from django_distsession.stores.couchdb.designs import Design
from django_distsession.stores.couchdb.designs.migration import Migration, MigrationRefused, Watcher
from tests.stores.couchdb.designs.conftest import Database, release


class Steps(Watcher):
    """
    Does something at a step whose text contains `at`.
    """

    def __init__(self, at: str = "", do: Callable[[], Any] = lambda: None) -> None:
        self.texts: list[str] = []
        self.at = at
        self.do = do

    def step(self, text: str) -> None:
        self.texts.append(text)
        if self.at and self.at in text:
            self.do()


def migrate(client: Client, *designs: Design, **options: Any) -> None:
    Migration(client, designs, interval=0.01, **options).run()


@pytest.mark.parametrize("build", [True, False])
def test_a_missing_document_is_created(client: Client, database: Database, build: bool) -> None:
    migrate(client, release(2), release(1, name="another"), build=build)
    assert database.versions() == {"purpose": 2, "another": 1}
    assert client.view("purpose", "v") == []


@pytest.mark.parametrize("build", [True, False])
def test_an_older_document_is_replaced(client: Client, database: Database, build: bool) -> None:
    migrate(client, release(1))
    database.fill(20)
    migrate(client, release(2), build=build)
    assert database.versions() == {"purpose": 2}
    assert [row["value"] for row in client.view("purpose", "v")] == [2] * 20


@pytest.mark.parametrize("there", [release(1), release(2)], ids=["same", "newer"])
def test_what_is_the_same_or_newer_is_left_alone(
    client: Client, database: Database, there: Design
) -> None:
    migrate(client, there)
    before = database.designs()
    steps = Steps()
    migrate(client, release(1), force=True, watcher=steps)
    assert database.designs() == before
    assert steps.texts == []


def test_what_was_edited_is_refused_and_nothing_is_changed(
    client: Client, database: Database
) -> None:
    migrate(client, release(1), release(1, name="another"))
    database.put({**database.designs()["purpose"], "views": {}})
    before = database.designs()
    with pytest.raises(MigrationRefused, match="purpose is not what the code calls") as refused:
        migrate(client, release(1), release(2, name="another"))
    assert "+  v:" in refused.value.entries[0].diff
    assert database.designs() == before
    migrate(client, release(1), release(2, name="another"), force=True)
    assert database.versions() == {"purpose": 1, "another": 2}
    assert database.designs()["purpose"]["views"] == release(1).content["views"]


def test_the_index_is_there_before_the_live_name_has_it(client: Client, database: Database) -> None:
    migrate(client, release(1))
    database.fill(50)
    seen: list[Any] = []

    def look() -> None:
        seen.append(database.versions())
        # "false" asks for what there is, without any building.
        seen.append(client.view(release(2).staging_name, "v", update="false"))

    migrate(client, release(2), watcher=Steps("putting version 2 in place", look))
    assert seen[0] == {"purpose": 1, release(2).staging_name: 2}
    assert len(seen[1]) == 50
    assert len(client.view("purpose", "v", update="false")) == 50


@pytest.mark.parametrize("step", ["staging", "building", "in place"])
def test_older_code_never_overwrites_what_newer_code_stored_meanwhile(
    client: Client, database: Database, step: str
) -> None:
    migrate(client, release(1))
    steps = Steps(step, lambda: migrate(client, release(3)))
    migrate(client, release(2), watcher=steps)
    assert database.versions() == {"purpose": 3}
    assert "purpose: another process was faster." in steps.texts


@pytest.mark.parametrize("step", ["staging", "building", "in place"])
def test_newer_code_overwrites_what_older_code_stored_meanwhile(
    client: Client, database: Database, step: str
) -> None:
    migrate(client, release(1))
    runs = iter([lambda: migrate(client, release(2))])
    migrate(client, release(3), watcher=Steps(step, lambda: next(runs, lambda: None)()))
    assert database.versions() == {"purpose": 3}


def test_what_is_edited_while_the_index_is_built_is_refused(
    client: Client, database: Database
) -> None:
    migrate(client, release(1))

    def edit() -> None:
        database.put({**database.designs()["purpose"], **release(2).document(), "views": {}})

    with pytest.raises(MigrationRefused):
        migrate(client, release(2), watcher=Steps("in place", edit))
    assert database.designs()["purpose"]["views"] == {}


@pytest.mark.parametrize("versions", [(2, 2, 2, 2), (2, 3, 2, 3)], ids=["same", "different"])
def test_several_runs_at_once_do_not_harm_each_other(
    client: Client, database: Database, versions: tuple[int, ...]
) -> None:
    migrate(client, release(1))
    database.fill(200)
    together = threading.Barrier(len(versions))

    def run(version: int) -> None:
        together.wait()
        migrate(client, release(version), release(version, name="another"))

    with ThreadPoolExecutor(len(versions)) as pool:
        list(pool.map(run, versions))
    # A run that ended first may have seen a staging copy of a release that came after it.
    migrate(client, release(max(versions)))
    assert database.versions() == {"purpose": max(versions), "another": max(versions)}
    assert len(client.view("purpose", "v")) == 200


def test_a_stale_staging_copy_is_taken_over(client: Client, database: Database) -> None:
    migrate(client, release(1))
    staged = f"_design/{release(2).staging_name}"
    rev = client.put(release(2).document(release(2).staging_name)).rev
    taken: list[str] = []
    steps = Steps("building", lambda: taken.append(client.get(staged)["_rev"]))
    migrate(client, release(2), watcher=steps)
    assert taken == [rev]
    assert database.versions() == {"purpose": 2}


def test_a_staging_copy_that_was_edited_is_corrected(client: Client, database: Database) -> None:
    client.put({**release(2).document(release(2).staging_name), "views": {}})
    migrate(client, release(2))
    assert database.designs()["purpose"]["views"] == release(2).content["views"]
    assert database.versions() == {"purpose": 2}


def test_staging_copies_of_older_releases_go_and_those_of_newer_ones_stay(
    client: Client, database: Database
) -> None:
    for version in (1, 3):
        client.put(release(version).document(release(version).staging_name))
    migrate(client, release(2))
    assert database.versions() == {"purpose": 2, release(3).staging_name: 3}


def test_a_staging_copy_that_is_taken_away_is_made_again(
    client: Client, database: Database
) -> None:
    staged = f"_design/{release(2).staging_name}"
    removals = iter([lambda: client.delete(staged, client.get(staged)["_rev"])])
    migrate(client, release(2), watcher=Steps("building", lambda: next(removals, lambda: None)()))
    assert database.versions() == {"purpose": 2}


def test_a_server_that_cannot_copy_is_written_to(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise RequestRefused("no COPY here")

    monkeypatch.setattr(client, "copy", refuse)
    migrate(client, release(1))
    migrate(client, release(2))
    assert database.versions() == {"purpose": 2}


def test_old_index_files_are_cleaned_up_even_if_only_that_was_left(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(client, release(1))
    made: list[tuple[str, str]] = []
    request = client.request

    def noting(method: str, resource: str, *read: Any, **options: Any) -> Any:
        made.append((method, resource))
        return request(method, resource, *read, **options)

    monkeypatch.setattr(client, "request", noting)
    migrate(client, release(2))
    assert made[-1] == ("POST", "_view_cleanup")
    made.clear()
    # Killed just before, an earlier run has left nothing that a plan could show.
    migrate(client, release(2))
    assert made[-1] == ("POST", "_view_cleanup")
    assert {method for method, _ in made[:-1]} == {"GET"}


class Killed(BaseException):
    """
    As good as SIGKILL: nobody catches it.
    """


def test_killed_at_any_request_the_next_run_brings_the_same_end(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = (release(2), release(2, name="new"))
    database.fill(5)
    request = client.request
    left = 0

    def dying(*arguments: Any, **options: Any) -> Any:
        # Before the next request is after the last one, too.
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return request(*arguments, **options)

    def reset_after_fork() -> None:
        for name, document in database.designs().items():
            client.delete(f"_design/{name}", document["_rev"])
        client.put(release(1).document())
        client.put(release(1, name="new").document(release(1, name="new").staging_name))

    def contents() -> dict[str, Any]:
        found = database.designs()
        return {name: {**document, "_rev": None} for name, document in found.items()}

    kills = 0
    while True:
        reset_after_fork()
        left = kills
        monkeypatch.setattr(client, "request", dying)
        try:
            migrate(client, *wanted)
        except Killed:
            kills += 1
        else:
            break
        finally:
            monkeypatch.setattr(client, "request", request)
        migrate(client, *wanted)
        assert contents() == {design.name: {**design.document(), "_rev": None} for design in wanted}
        assert all(len(client.view(design.name, "v")) == 5 for design in wanted)
    # Each design takes at least its staging, building, copying and removing.
    assert kills >= 2 * 4
