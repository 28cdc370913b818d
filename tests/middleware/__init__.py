"""
What our middleware adds to Django's, whose own tests it passes too (tests/upstream).
"""

from __future__ import annotations
