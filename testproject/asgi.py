"""
The demo site as an ASGI application.
"""

from __future__ import annotations

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")

application = get_asgi_application()


def with_static_files() -> ASGIStaticFilesHandler:
    """
    Return the application, which serves the site's scripts and styles too.
    """
    return ASGIStaticFilesHandler(application)
