"""
The Django app.
"""

from __future__ import annotations

from django.apps import AppConfig


class DistSessionConfig(AppConfig):
    """
    Registers the system checks.
    """

    name = "django_distsession"
    verbose_name = "Distributed sessions"

    def ready(self) -> None:
        from . import checks  # noqa: F401
