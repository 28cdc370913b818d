"""
Plans, which need no server.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from django_distsession.stores.couchdb.designs import Design
from django_distsession.stores.couchdb.designs.planning import Plan, State, make_plan
from tests.stores.couchdb.designs.conftest import release

TWO = release(2)


def stored(design: Design, name: str | None = None, **changed: Any) -> dict[str, Any]:
    return {**design.document(name, "1-a"), **changed}


def planned(*documents: dict[str, Any], force: bool = False) -> Plan:
    return make_plan([TWO], documents, force=force)


@pytest.mark.parametrize(
    ("documents", "state", "done"),
    [
        ([], State.MISSING, False),
        ([stored(TWO)], State.SAME, True),
        ([stored(release(1))], State.OLDER, False),
        ([stored(release(3))], State.NEWER, True),
        ([stored(release(2, source="function (doc) {}"))], State.EDITED, False),
        ([stored(TWO, autoupdate=False)], State.EDITED, False),
        ([stored(TWO, distsession_version=None)], State.EDITED, False),
        ([stored(TWO, distsession_version=True)], State.EDITED, False),
        ([stored(TWO, distsession_version="1")], State.EDITED, False),
        ([stored(release(1), "other")], State.MISSING, False),
    ],
)
def test_what_the_database_has_is_told_apart(
    documents: list[dict[str, Any]], state: State, done: bool
) -> None:
    plan = planned(*documents)
    assert [entry.state for entry in plan.entries] == [state]
    assert plan.is_done is done
    assert bool(plan.changes) is (state in (State.MISSING, State.OLDER))
    assert bool(plan.refused) is (state is State.EDITED)


def test_a_document_that_lost_its_version_is_nobodys() -> None:
    document = stored(release(1))
    del document["distsession_version"]
    assert planned(document).entries[0].state is State.EDITED


def test_what_was_edited_is_replaced_by_force_only() -> None:
    document = stored(TWO, views={})
    assert planned(document).changes == []
    forced = planned(document, force=True)
    assert (len(forced.changes), forced.refused) == (1, [])


def test_force_replaces_nothing_newer() -> None:
    assert planned(stored(release(3)), force=True).is_done


def test_the_diff_shows_lines_of_a_function() -> None:
    source = TWO.content["views"]["v"]["map"].replace("2", "doc.user")
    diff = planned(stored(release(2, source=source))).refused[0].diff
    assert "-        emit(doc._id, doc.user);" in diff
    assert "+        emit(doc._id, 2);" in diff


def test_staging_copies_that_nobody_needs_are_left_over() -> None:
    three, other = release(3), dataclasses.replace(TWO, name="others")
    documents = [stored(design, design.staging_name) for design in (release(1), TWO, three, other)]
    plan = planned(stored(TWO), *documents, stored(TWO, "purpose.staging.2.mine"))
    assert set(plan.leftovers) == {
        f"_design/{release(1).staging_name}",
        f"_design/{TWO.staging_name}",
    }
    assert plan.newer_staged == (f"_design/{three.staging_name}",)
    assert not plan.is_done


def test_a_version_beyond_all_versions_is_no_staging_copy() -> None:
    plan = planned(stored(TWO), stored(TWO, f"purpose.staging.{'9' * 5000}.abcdef01"))
    assert plan.is_done
    assert not plan.newer_staged


def test_releases_that_migrate_at_once_stage_under_different_names() -> None:
    designs = [release(1), release(2), release(2, source="function (doc) {}")]
    assert len({design.staging_name for design in designs}) == 3
