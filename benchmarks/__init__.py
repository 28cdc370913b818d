"""
Our engines beside Django's, on the same servers: `python -m benchmarks`.
"""

from __future__ import annotations
