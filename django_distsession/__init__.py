"""
Django sessions in memcached and CouchDB, for sites on more than one machine.
"""

from __future__ import annotations

__version__ = "0.1.0"
