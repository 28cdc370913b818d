"""
`django_distsession.middleware.SessionMiddleware`, in place of Django's.
"""

from __future__ import annotations

from .session import SessionMiddleware

__all__ = ["SessionMiddleware"]
