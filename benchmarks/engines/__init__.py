"""
Session engines at work: alone, and in whole requests.
"""

from __future__ import annotations
