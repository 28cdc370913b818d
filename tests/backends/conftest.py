from __future__ import annotations

from typing import Any

import pytest

from ..conftest import engine_class
from ..sessions import Engine


@pytest.fixture
def in_memory(settings: Any) -> Engine:
    """
    An engine that needs no server.
    """
    settings.DISTSESSION = {}
    return engine_class(settings, "memory")
