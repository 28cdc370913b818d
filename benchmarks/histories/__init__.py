"""
Random requests to several processes under random faults, and what users were told that did not
hold.
"""

from __future__ import annotations
