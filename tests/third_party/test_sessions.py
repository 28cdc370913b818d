"""
What holds for sessions on every engine holds on engines without a server.
"""

from __future__ import annotations

from tests.test_sessions import *  # noqa: F403
