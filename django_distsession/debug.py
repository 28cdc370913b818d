"""
For Django's reports of errors: `DISTSESSION`, and environment variables that begin so, are shown as
stars. Django goes by the names of settings, and does not know that a `URL` holds a password.
"""

from __future__ import annotations

import re

from django.views.debug import SafeExceptionReporterFilter


class ExceptionReporterFilter(SafeExceptionReporterFilter):
    """
    For `DEFAULT_EXCEPTION_REPORTER_FILTER`, or as a base of a filter of your own.
    """

    hidden_settings = re.compile(
        f"{SafeExceptionReporterFilter.hidden_settings.pattern}|^DISTSESSION", flags=re.I
    )
