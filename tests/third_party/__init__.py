"""
A store such as somebody else may write, by "Write a store of your own" in the docs alone.
"""

from __future__ import annotations
