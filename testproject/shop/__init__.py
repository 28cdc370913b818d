"""
A small shop whose visitors' sessions are the thing on display.
"""

from __future__ import annotations
