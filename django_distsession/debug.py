"""
A filter for Django's error reports that masks `DISTSESSION`, and environment variables whose names
begin with it. Django's own filter goes by the names of settings, and does not mask a `URL`, which
may hold a password.
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
