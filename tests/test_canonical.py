from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from django_distsession import canonical

parts = st.lists(st.binary(max_size=4), max_size=4)


@given(parts, parts)
def test_other_parts_make_other_bytes(one: list[bytes], other: list[bytes]) -> None:
    assert (canonical.encode(*one) == canonical.encode(*other)) == (one == other)
    assert canonical.encode(*one, *other) == canonical.encode(*one) + canonical.encode(*other)
