"""
How long an operation goes on that meets others, and whom it does not wait for.
"""

from __future__ import annotations

from secrets import token_hex

import pytest

from tests.stores.hybrid.conftest import (
    REVALIDATE_AFTER,
    Tiers,
    change,
    contents,
    create,
    storage_id,
)
from tests.stores.hybrid.fakes import FakeStore

SOON = 30.0


def keep_changing(store: FakeStore, id_: str) -> None:
    """
    Have somebody else write to the session before every write.
    """

    def write(name: str) -> None:
        if name in ("replace", "add") and id_ in store.held:
            store.held[id_] = store.held[id_][0], token_hex(8)

    store.before = write


@pytest.mark.parametrize(("timeout", "tries"), [(SOON, 20), (0.0, 1)])
def test_bringing_both_together_has_a_limit(tiers: Tiers, timeout: float, tries: int) -> None:
    process = tiers.process(timeout=timeout)
    key = create(process, a=1)
    tiers.clock.now += REVALIDATE_AFTER
    keep_changing(tiers.cache, storage_id(key))
    tiers.cache.calls.clear()
    assert contents(process, key) == {"a": 1}
    assert tiers.cache.calls.count("replace") == tries


def test_a_save_that_lost_all_races_in_the_cache_is_not_hidden_by_what_is_there(
    tiers: Tiers,
) -> None:
    process = tiers.process(timeout=0.0)
    key = create(process, a=1)
    keep_changing(tiers.cache, storage_id(key))
    change(process, key, "b")
    cached = tiers.cached(key)
    assert cached is not None
    assert cached.version != tiers.stored(key).version  # type: ignore[union-attr]
    assert contents(process, key) == {"a": 1, "b": 1}


def test_a_durable_store_that_is_known_to_be_away_is_not_asked_where_there_is_a_copy(
    tiers: Tiers,
) -> None:
    process = tiers.process()
    key = create(process, a=1)
    tiers.clock.now += REVALIDATE_AFTER
    tiers.durable.is_known_down = True
    tiers.durable.calls.clear()
    assert contents(process, key) == {"a": 1}
    assert tiers.durable.calls == []
    tiers.cache.flush()
    assert contents(process, key) == {"a": 1}
