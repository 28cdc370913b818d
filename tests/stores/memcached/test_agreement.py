from __future__ import annotations

from typing import Any

import pytest

from django_distsession.stamps import Stamp
from django_distsession.stores.memcached.agreement import Held, agree
from django_distsession.stores.record import Record

# Agreement asks them nothing.
NODE: Any = None


@pytest.mark.parametrize("longer_first", [True, False])
def test_of_copies_that_say_the_same_the_one_that_is_held_longest_is_kept(
    longer_first: bool,
) -> None:
    record = Record(Stamp(3, "t"), 500, 1, b"payload")
    copies = [Held(NODE, 1, record.retained_until(900)), Held(NODE, 2, record)]
    if not longer_first:
        copies.reverse()

    def never(*arguments: Any) -> Any:
        raise AssertionError("There is nothing to merge.")

    agreed = agree("id", copies, never)
    assert agreed is not None
    assert (agreed.expires_at, agreed.retention_deadline) == (500, 900)
    assert [copy.cas for copy in copies if copy.differs_from(agreed)] == [2]
