"""
When a session expires, and whether it is worth a write to say so.
"""

from __future__ import annotations

from .runtime import Runtime

# Where Django keeps what `set_expiry` was given.
EXPIRY_KEY = "_session_expiry"

# However short a session lives, its expiry is exact to this fraction of its age.
TOUCH_FRACTION = 10

# 317 years, in seconds: what is beyond makes no difference.
LONGEST_AGE = 10**10


def is_touch_due(runtime: Runtime, stored: int, expires_at: int) -> bool:
    """
    Whether a session that did not change, and is said to expire when `stored` says, is to be
    written for the sake of its expiry.
    """
    # An interval longer than the session lives would log active users out.
    lifetime = max(expires_at - int(runtime.clock.now()), 0)
    interval = max(1, min(runtime.settings.touch_interval, lifetime // TOUCH_FRACTION))
    return expires_at - stored >= interval
