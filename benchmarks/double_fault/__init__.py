"""
A second server fails when the first one is back, before every process knows that it is.
"""

from __future__ import annotations
