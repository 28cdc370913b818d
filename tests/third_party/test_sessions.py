"""
What holds for sessions on every engine holds on engines without a server.
"""

from __future__ import annotations

from tests.backends.test_access_tracking import *  # noqa: F403
from tests.backends.test_administration import *  # noqa: F403
from tests.backends.test_changes import *  # noqa: F403
from tests.backends.test_creating import *  # noqa: F403
from tests.backends.test_ending import *  # noqa: F403
from tests.backends.test_expiry import *  # noqa: F403
from tests.backends.test_loading import *  # noqa: F403
from tests.backends.test_retrying import *  # noqa: F403
from tests.backends.test_saving import *  # noqa: F403
from tests.stores.test_threads import *  # noqa: F403
