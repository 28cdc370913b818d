from __future__ import annotations

import pytest

from testproject.shop.whereabouts import Whereabouts


def test_whereabouts_abbreviate_long_values_but_not_what_names_the_document() -> None:
    document = {"_id": "a" * 64, "_rev": "1-" + "b" * 60, "data": "c" * 300, "version": [1, "d"]}
    whereabouts = Whereabouts.from_inspection(
        {
            "engine": "couchdb",
            "storage_id": "a" * 64,
            "version": [1, "d"],
            "expires_at": 0,
            "copies": [
                {
                    "store": "couchdb",
                    "place": "http://127.0.0.1:5984/sessionid",
                    "state": "live",
                    "version": [1, "d"],
                    "detail": {"document": document, "database": "sessionid"},
                }
            ],
        }
    )

    assert whereabouts.memcached == []
    [copy] = whereabouts.couchdb
    assert "a" * 64 in copy.document
    assert "b" * 60 in copy.document
    assert "c" * 49 not in copy.document
    assert "(300 characters)" in copy.document
    assert whereabouts.version == copy.version == "1 · d"
    assert whereabouts.expires_at is not None
    assert whereabouts.expires_at.year == 1970


@pytest.mark.parametrize(
    ("state", "replica", "note"),
    [
        ("live", True, ""),
        ("absent", True, "Has no copy."),
        ("absent", False, "Not one of this session's replicas."),
        ("unavailable", True, "Does not answer."),
        ("unavailable", False, "Does not answer. Not one of this session's replicas."),
    ],
)
def test_whereabouts_explain_a_copy_that_is_not_live(state: str, replica: bool, note: str) -> None:
    copy = {"store": "memcached", "place": "[::1]:11211", "state": state, "version": None}
    whereabouts = Whereabouts.from_inspection(
        {
            "engine": "memcached",
            "storage_id": "a",
            "version": None,
            "expires_at": None,
            "copies": [copy | {"replica": replica}],
        }
    )

    assert whereabouts.memcached[0].note == note
