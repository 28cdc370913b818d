"""
What a store knows of a record that it refused is not lost on the way through both tiers.
"""

from __future__ import annotations

from typing import Any

import pytest

from django_distsession.stores.contract import Conflict, Token
from django_distsession.stores.record import Record
from tests.stores.hybrid.conftest import Tiers, contents, create, hybrid_store, loaded, storage_id
from tests.stores.hybrid.fakes import FakeStore


def take_and_refuse(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Have the store refuse its next save, and know that it took it.
    """
    replace = store.replace

    def refuse(storage_id: str, record: Record, token: Token) -> Token:
        monkeypatch.setattr(store, "replace", replace)
        raise Conflict(store._found(storage_id), applied=True)

    monkeypatch.setattr(store, "replace", refuse)


@pytest.mark.parametrize("is_durable_up", [True, False])
def test_what_is_known_of_a_refused_record_is_passed_on(
    either: Tiers, monkeypatch: pytest.MonkeyPatch, is_durable_up: bool
) -> None:
    process = either.process()
    key = create(process, value=1)
    store: Any = hybrid_store(process)
    found = store.get(storage_id(key))
    either.durable.up = is_durable_up
    take_and_refuse(either.durable if is_durable_up else either.cache, monkeypatch)
    with pytest.raises(Conflict) as caught:
        store.replace(storage_id(key), found.record, found.token)
    assert caught.value.applied


def test_a_save_that_took_place_unnoticed_tells_the_cache_of_what_followed(
    tiers: Tiers, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, other = tiers.process(), tiers.process()
    key = create(process, value="loaded")
    session = loaded(process, key)
    session["value"] = "mine"
    replace = tiers.durable.replace

    def lose_reply(storage_id: str, record: Record, token: Token) -> Token:
        monkeypatch.setattr(tiers.durable, "replace", replace)
        replace(storage_id, record, token)
        # The other process cannot reach the cache.
        tiers.cache.up = False
        another = loaded(other, key)
        assert another["value"] == "mine"
        another["value"] = "theirs"
        another.save()
        tiers.cache.up = True
        raise Conflict(tiers.durable._found(storage_id))

    monkeypatch.setattr(tiers.durable, "replace", lose_reply)
    session.save()
    assert contents(process, key) == {"value": "theirs"}
    assert session["value"] == "theirs"
