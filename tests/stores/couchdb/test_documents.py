"""
What is looked for in a document before it is believed to be a session.
"""

from __future__ import annotations

from typing import Any

import pytest

from django_distsession.stamps import LARGEST, Stamp
from django_distsession.state import new_tag
from django_distsession.stores.couchdb.documents import ForeignDocument, to_document, to_record
from django_distsession.stores.record import Record

RECORD = Record(Stamp(3, "-_aZ09+x"), 500, 100, b"payload", "7", retain_until=900)


def document(**changed: Any) -> dict[str, Any]:
    return to_document("a" * 64, RECORD, None, 200, as_json=False) | changed


def test_what_was_written_is_read() -> None:
    assert to_record(document(), as_json=False) == RECORD
    ended = Record.tombstone(2**40)
    assert (
        to_record(to_document("a" * 64, ended, "1-a", 200, as_json=False), as_json=False) == ended
    )


@pytest.mark.parametrize(
    "version", [[1, new_tag()], [1.0, "a" * 8], [0, "+" * 8], [LARGEST, "benchmrk"]]
)
def test_a_version_that_a_save_can_have_made_is_read(version: list[Any]) -> None:
    assert to_record(document(version=version), as_json=False).version == Stamp(*version)


GENERATIONS: list[Any] = [-1, 2**53, 2**64, 10**400, 1.5, 1e300, float("nan"), float("inf")]
GENERATIONS += [True, None, "1", []]
TAGS = ["", "a" * 7, "a" * 9, "a" * 7 + "\n", "é" * 8, "\ud800" * 8, None, 1, ["a"] * 8]
VERSIONS: list[Any] = [None, [], [1], "12345678", {}, [1, "a" * 8, 1]]
USERS: list[Any] = [7, True, [], {}]
TIMES: list[Any] = [None, -1, 2**53, 1.5, float("nan"), float("inf"), 1e300, True, "5", []]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("version", [generation, "a" * 8]) for generation in GENERATIONS),
        *(("version", [1, tag]) for tag in TAGS),
        *(("version", version) for version in VERSIONS),
        *(("expires_at", time) for time in TIMES),
        *(("created_at", time) for time in TIMES),
        *(("retain_until", time) for time in TIMES),
        *(("user", user) for user in USERS),
        *(("ended", ended) for ended in (None, 0, 1, "true")),
        ("data", "é"),
    ],
    ids=repr,
)
def test_what_no_save_can_have_made_is_foreign(field: str, value: Any) -> None:
    with pytest.raises(ForeignDocument):
        to_record(document(**{field: value}), as_json=False)


def test_json_that_is_nested_too_deeply_is_foreign() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ForeignDocument):
        to_record(document(data=deep, stamps={}), as_json=True)
