"""
What is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum


class Operation(StrEnum):
    LOAD = "load"
    SAVE = "load + save"
    UNTOUCHED = "request, session not used"
    READ = "request, session read"
    WRITE = "request, session changed"


# What one contender can do. Each call is one operation.
Operations = Mapping[Operation, Callable[[], object]]
