"""
Views that are read at the very moment in which their design document is replaced.
"""

from __future__ import annotations

from typing import Any

import pytest
from couchdb3.exceptions import NotFoundError

from django_distsession.exceptions import StoreUnavailable
from django_distsession.stores.couchdb.client import Client
from django_distsession.stores.couchdb.client.connect import connect
from django_distsession.stores.couchdb.client.views import MAX_TRIES

ROWS = '{"total_rows": 1, "rows": [{"id": "a", "key": 1, "value": null}]}'
REPLACED = '{"error": "not_found", "reason": "Design document was updated or deleted."}'
CUT = '{"total_rows": 1, "rows": [{"id": "a", "key": 1, "value": null}' + REPLACED


class Reply:
    status_code = 200

    def __init__(self, body: str) -> None:
        self.content = body.encode()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> tuple[Client, list[str]]:
    """
    A client without a server, and the answers that it gets.
    """
    client = Client(connect(["http://127.0.0.1:1"], timeout=1, pool_size=1), "sessions")
    answers: list[str] = []

    def answer(*arguments: Any, **options: Any) -> Reply:
        body = answers.pop(0)
        if body == REPLACED:
            raise NotFoundError(body)
        return Reply(body)

    monkeypatch.setattr(client._database, "_request", answer)
    return client, answers


@pytest.mark.parametrize("answer", [REPLACED, CUT], ids=["replaced", "cut"])
def test_the_view_is_read_again(told: tuple[Client, list[str]], answer: str) -> None:
    client, answers = told
    answers += [answer, answer, ROWS]
    assert [row["id"] for row in client.view("purpose", "v")] == ["a"]


@pytest.mark.parametrize("answer", [REPLACED, CUT], ids=["replaced", "cut"])
def test_but_not_for_ever(told: tuple[Client, list[str]], answer: str) -> None:
    client, answers = told
    answers += [answer] * MAX_TRIES + [ROWS]
    with pytest.raises(StoreUnavailable):
        client.view("purpose", "v")
    assert answers == [ROWS]
