"""
Records that were read a moment ago: how many of them are remembered.
"""

from __future__ import annotations

from django_distsession.stamps import Stamp
from django_distsession.stores.contract import Versioned
from django_distsession.stores.couchdb.recent import OVERHEAD, Known, Recent
from django_distsession.stores.record import Record


def known(size: int) -> Known:
    return Known(Versioned(Record(Stamp(1, "t"), 1, 1, b"x" * size), "1-a"), 0.0)


class TestRecent:
    def test_is_bounded_in_entries(self) -> None:
        recent = Recent(3, 10**9)
        for number in range(5):
            recent.put(str(number), known(1))
            assert recent.get("0") or number > 3
        assert recent.usage == (3, 3 * (OVERHEAD + 1))
        assert [recent.get(str(n)) is not None for n in range(5)] == [
            True, False, False, True, True
        ]  # fmt: skip

    def test_is_bounded_in_bytes(self) -> None:
        recent = Recent(100, 10 * OVERHEAD)
        for number in range(30):
            recent.put(str(number), known(OVERHEAD))
            assert recent.usage[1] <= 10 * OVERHEAD
        assert recent.usage[0] == 5
        recent.put("huge", known(20 * OVERHEAD))
        assert recent.get("huge") is None
        assert recent.usage[0] == 5

    def test_forgets(self) -> None:
        recent = Recent(3, 10**9)
        recent.put("a", known(5))
        recent.put("a", known(50))
        assert recent.usage == (1, OVERHEAD + 50)
        recent.forget("a")
        recent.forget("a")
        assert recent.usage == (0, 0)
