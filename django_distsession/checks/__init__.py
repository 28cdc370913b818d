"""
System checks. Importing the modules registers them.
"""

from __future__ import annotations

from . import configuration, deployment, design_documents, installation, servers

__all__ = ["configuration", "deployment", "design_documents", "installation", "servers"]
