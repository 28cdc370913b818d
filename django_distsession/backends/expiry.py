"""
When a session expires, and whether it is worth a write to say so.
"""

from __future__ import annotations

import time
from typing import Any

from django.contrib.sessions.backends.base import SessionBase

from .sharing import SharesEngine

# Where Django keeps what `set_expiry` was given.
EXPIRY_KEY = "_session_expiry"

# However short a session lives, its expiry is exact to this fraction of its age.
TOUCH_FRACTION = 10

# 317 years, in seconds: what is beyond makes no difference.
LONGEST_AGE = 10**10


class Expiring(SharesEngine, SessionBase):
    """
    As Django's sessions, with an expiry that is extended now and then only.
    """

    def get_expiry_age(self, **kwargs: Any) -> int:
        """
        As Django's, which asks for the time also where the answer does not depend on it.
        """
        expiry = kwargs["expiry"] if "expiry" in kwargs else self.get(EXPIRY_KEY)
        if not expiry:
            return self.get_session_cookie_age()
        return super().get_expiry_age(**{**kwargs, "expiry": expiry})

    def _expires_at(self, expiry: Any) -> int:
        # Settings and `set_expiry` may give fractions, and centuries.
        age = int(self.get_expiry_age(expiry=expiry))
        return now() + max(-LONGEST_AGE, min(age, LONGEST_AGE))

    def _is_touch_due(self, stored: int, expires_at: int) -> bool:
        return expires_at - stored >= self._touch_interval(expires_at)

    def _touch_interval(self, expires_at: int) -> int:
        # An interval longer than the session lives would log active users out.
        lifetime = max(expires_at - now(), 0)
        return max(1, min(self._shared.settings.touch_interval, lifetime // TOUCH_FRACTION))


def now() -> int:
    """
    Return the time, in seconds since the epoch.
    """
    return int(time.time())
