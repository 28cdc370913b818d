"""
The contract of stores as tests, for any store: subclass `StoreContract` and give it your store.

It needs pytest, which the package itself does not: nothing else in it imports this.
"""

from __future__ import annotations

import pytest

# For messages that show the values. It has to come before what it is about is imported.
pytest.register_assert_rewrite(f"{__name__}.kit")

from .kit import StoreContract  # noqa: E402
from .records import entries, make_record, merge  # noqa: E402

__all__ = ["StoreContract", "entries", "make_record", "merge"]
