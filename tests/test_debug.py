from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory
from django.views.debug import ExceptionReporter, get_default_exception_reporter_filter

from django_distsession import conf

from .secrets.conftest import errors_of
from .secrets.error_reports import URL, tells_it


@pytest.mark.parametrize("ours", [True, False], ids=["our filter", "Django's"])
def test_djangos_reports_of_errors(settings: Any, ours: bool) -> None:
    """
    Settings are a part of them, in mails to ADMINS too.
    """
    settings.DISTSESSION = {"COUCHDB": {"URL": URL, "TIMEOUT": "soon"}}
    if ours:
        settings.DEFAULT_EXCEPTION_REPORTER_FILTER = (
            "django_distsession.debug.ExceptionReporterFilter"
        )
    request = RequestFactory().get("/", DISTSESSION_COUCHDB_URL=URL)
    cached: Any = get_default_exception_reporter_filter
    cached.cache_clear()
    try:
        (error,) = errors_of(conf.get)
        reporter = ExceptionReporter(request, type(error), error, error.__traceback__)
        for report in (reporter.get_traceback_html(), reporter.get_traceback_text()):
            assert "SESSION_COOKIE_AGE" in report
            assert tells_it(report) is not ours
    finally:
        cached.cache_clear()
