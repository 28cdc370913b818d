"""
What the servers themselves take: the least code that gets the same bytes there and back.
"""

from __future__ import annotations
