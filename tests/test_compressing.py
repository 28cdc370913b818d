from __future__ import annotations

import zlib

import pytest

from django_distsession import compressing
from django_distsession.compressing import deflate, inflate
from django_distsession.exceptions import RecordTooLarge

LIMIT = 1000


@pytest.fixture(autouse=True)
def _low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressing, "MOST_BYTES", LIMIT)


def test_what_is_compressed_is_smaller_and_comes_back() -> None:
    data = b"session" * (LIMIT // 7)
    assert len(deflate(data)) < len(data)
    assert inflate(deflate(data)) == data


def test_no_more_is_compressed_than_would_come_back() -> None:
    assert inflate(deflate(bytes(LIMIT))) == bytes(LIMIT)
    with pytest.raises(RecordTooLarge, match="1,000 bytes"):
        deflate(bytes(LIMIT + 1))


@pytest.mark.parametrize(
    "data",
    [zlib.compress(bytes(LIMIT + 1)), zlib.compress(b"session")[:-1], b"session", b""],
    ids=["bomb", "cut short", "not compressed", "empty"],
)
def test_what_was_not_compressed_here_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, zlib.error)):
        inflate(data)
