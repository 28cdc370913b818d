"""
Tokens: the revisions that a save has seen, as text.
"""

from __future__ import annotations

import pytest

from django_distsession.stores.couchdb import tokens

HIGH, LOW = "f" * 32, "0" * 32


@pytest.mark.parametrize(
    ("revs", "fits"), [(0, 0), (1, 1), (5, 5), (20, 6)], ids=["none", "one", "five", "too many"]
)
def test_a_token_fits_where_caches_keep_it(revs: int, fits: int) -> None:
    losers = [f"{number}-{LOW}" for number in range(revs)]
    token = tokens.join(f"1-{HIGH}", losers)
    assert len(token) <= tokens.MAX_LENGTH
    assert tokens.split(token) == (f"1-{HIGH}", losers[:fits])


@pytest.mark.parametrize("revs", [["1-a b"], ["1-a", "2-%20"], ["1-%2520 ", "9- ", "8-é%"]])
def test_a_token_names_revisions_of_any_kind(revs: list[str]) -> None:
    assert tokens.split(tokens.join(revs[0], revs[1:])) == (revs[0], revs[1:])
