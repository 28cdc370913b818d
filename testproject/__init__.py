"""
The demo site, which is also the Django project that the tests run in.
"""

from __future__ import annotations
